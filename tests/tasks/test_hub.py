"""Downloads with `datasets` in separate processes, from a fake hub on localhost.

The hub implements the part of Hugging Face's protocol that downloads need.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast
from urllib.parse import unquote, urlparse

import pytest
from paths import DATA

from mipo_bench.tasks.public.gsm8k import Gsm8k

pytestmark = pytest.mark.slow

CARD = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train*}
  - {split: test, path: main/test*}
---
"""
READ = "from mipo_bench.tasks.public.gsm8k import Gsm8k; print([i.id for i in Gsm8k().items('eval')])"


def python(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {"HF_HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1", "no_proxy": "127.0.0.1"}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env=inherited | ours | environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def mipo(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "mipo_bench.harness.cli", *arguments, home=home, **environment)


def test_a_data_set_is_downloaded_once_and_then_read_without_a_network(tmp_path: Path) -> None:
    files = {f"main/{split}.jsonl": (DATA / f"gsm8k/main/{split}.jsonl").read_bytes() for split in ("train", "test")}
    expected = str([item.id for item in Gsm8k(DATA).items("eval")])
    home = tmp_path / "home"
    with fake_hub({"openai/gsm8k": {"README.md": CARD, **files}}, Gsm8k.dataset.revision) as address:
        first = python("-c", READ, home=home, HF_ENDPOINT=address)
    assert first.stdout.strip() == expected, first.stderr
    again = python("-c", READ, home=home, HF_HUB_OFFLINE="1")
    assert again.stdout.strip() == expected, again.stderr
    pointed = python("-c", READ.replace("Gsm8k()", f"Gsm8k().with_data({str(home)!r})"), home=tmp_path / "x")
    assert pointed.stdout.strip() == expected, pointed.stderr


def test_whether_data_would_be_downloaded_is_found_out_without_downloading(tmp_path: Path) -> None:
    code = "from mipo_bench.tasks.public.gsm8k import Gsm8k; print(*Gsm8k().data_state())"
    home = tmp_path / "home"
    with fake_hub({"openai/gsm8k": {"README.md": CARD}}, Gsm8k.dataset.revision) as address:
        done = python("-c", code, home=home, HF_ENDPOINT=address)
    assert done.stdout.startswith("warn openai/gsm8k will be downloaded. Get it with: hf download"), done.stderr
    assert not list(home.rglob("*gsm8k*"))
    done = python("-c", code, home=home, HF_HUB_OFFLINE="1")
    assert done.stdout.startswith("missing task 'gsm8k' needs the data set openai/gsm8k: it is in no"), done.stderr


def test_refusals_of_the_hub_say_what_to_do_all_at_once(tmp_path: Path) -> None:
    refusing = {
        "ChilleD/SVAMP": "GatedRepo",
        "cais/mmlu": "RevisionNotFound",
        "HannahRoseKirk/prism-alignment": "RepoNotFound",
        "openai/gsm8k": "broken",
    }
    tasks = [part for task in ("svamp", "mmlu", "prism", "gsm8k") for part in ("--task", task)]
    with fake_hub(refusing, "0" * 40) as address:
        done = mipo("run", *tasks, "--dry-run", home=tmp_path / "home", HF_ENDPOINT=address)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("mipo-bench: task ")]
    assert len(lines) == 4
    svamp, mmlu, prism, gsm8k = lines
    assert "its terms must be accepted first. Open https://huggingface.co/datasets/ChilleD/SVAMP" in svamp
    assert "hf auth login" in svamp
    assert "has no revision c30699e8356da336a370243923dbaf21066bb9fe any more" in mmlu
    assert "the hub does not show it to you. Log in" in prism
    assert "500" in gsm8k
    assert "hf download --repo-type dataset openai/gsm8k --revision" in gsm8k
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("task", ["multifaceted_bench"])
def test_without_data_and_network_the_message_says_how_to_get_it(task: str, tmp_path: Path) -> None:
    done = mipo("run", "--task", task, home=tmp_path / "home", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "it is in no Hugging Face cache here, and the hub did not give it" in done.stderr
    assert "hf download --repo-type dataset kaist-ai/Multifaceted-Bench --local-dir DIR" in done.stderr
    assert "--data multifaceted_bench=DIR" in done.stderr
    assert not (tmp_path / ".mipo-bench").exists()


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
