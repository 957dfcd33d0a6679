"""A data set hub on localhost. It implements the part of Hugging Face's protocol that downloads need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import cast
from urllib.parse import unquote, urlparse

REFUSALS = {"GatedRepo": 403, "RepoNotFound": 401, "RevisionNotFound": 404, "broken": 500}
"""Error of a data set -> HTTP status. All names but `broken` are error codes of the real hub."""
Sets = Mapping[str, Mapping[str, bytes] | str]


@contextmanager
def fake_hub(sets: Sets, sha: str) -> Iterator[str]:
    """Serve data sets by id and yield the address. A data set is its files by path, or the name of an error."""
    server = Hub(sets, sha)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hub(ThreadingHTTPServer):
    """The server's data sets, all at one revision."""

    def __init__(self, sets: Sets, sha: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sets, self.sha = sets, sha


class Handler(BaseHTTPRequestHandler):
    """Answer one request: the information on a data set, the entries of a folder, or a file."""

    @property
    def hub(self) -> Hub:
        return cast("Hub", self.server)

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path).removeprefix("/api").removeprefix("/datasets/")
        name = "/".join(path.split("/")[:2])
        found = self.hub.sets.get(name, "RepoNotFound")
        rest = path.removeprefix(name).removeprefix("/")
        if isinstance(found, str):
            self.send(b"{}", REFUSALS[found], found)
        elif rest.startswith("resolve/"):
            file = rest.split("/", 2)[2]
            self.send(found[file]) if file in found else self.send(b"", 404, "EntryNotFound")
        elif rest.startswith("tree/"):
            self.send(json.dumps(entries(found, rest.split("/", 2)[2:])).encode())
        else:
            files = [{"rfilename": file} for file in found]
            self.send(json.dumps({"id": name, "sha": self.hub.sha, "siblings": files, "tags": []}).encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def send(self, body: bytes, status: int = 200, code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.hub.sha)
        if code and code != "broken":
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write no log."""


def entries(files: Mapping[str, bytes], below: list[str]) -> list[dict[str, object]]:
    """The entries of a folder of a data set."""
    folder = f"{below[0]}/" if below else ""
    inside = {file.removeprefix(folder): len(content) for file, content in files.items() if file.startswith(folder)}
    plain = {file: n for file, n in inside.items() if "/" not in file}
    folders = {file.split("/")[0]: 0 for file in inside if "/" in file}
    return [
        {"type": kind, "path": f"{folder}{name}", "size": n, "oid": "0" * 40}
        for kind, found in (("file", plain), ("directory", folders))
        for name, n in found.items()
    ]
