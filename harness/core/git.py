"""Reads git: reports at a revision, the commits that changed them, and the state of the checkout.

`diff` and `history` find past reports with it; a run records the state of its checkout.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ReportError

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, and the requested paths that it changed. `date` is the committer's, ISO 8601."""

    hash: str
    date: str
    subject: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repository:
    """A git checkout; paths are relative to `root`, with forward slashes."""

    root: Path

    def commit(self, revision: str) -> str | None:
        """The full hash of a revision; None if git does not know it."""
        found = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}")
        return found.strip() if found else None

    def shallow_advice(self) -> str:
        """A sentence with the command that completes a shallow clone; empty for a complete one."""
        shallow = (_git(self.root, "rev-parse", "--is-shallow-repository") or "").strip() == "true"
        return " This clone is shallow: `git fetch --unshallow` fetches its older commits." if shallow else ""

    def file_at(self, commit: str, path: str) -> str | None:
        """The text of a file in a commit; None if the commit does not have it."""
        return _git(self.root, "show", "--no-textconv", f"{commit}:{path}")

    def files(self, commit: str, name: str) -> list[str]:
        """The paths of all files with this name in a commit."""
        listed = _git(self.root, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit) or ""
        return [path for path in listed.split("\0") if path.rsplit("/", maxsplit=1)[-1] == name]

    def relative(self, path: Path) -> str | None:
        """The path relative to `root`, as git writes it; None for a path outside of the checkout."""
        try:
            return path.absolute().resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None

    def log(self, patterns: Sequence[str], limit: int) -> list[Commit]:
        """The latest commits that changed a matching path, the oldest first."""
        listed = _git(
            self.root,
            "log",
            f"--max-count={limit}",
            "--diff-filter=d",
            "-z",
            "--name-only",
            "--format=%x01%H%x02%cI%x02%s%x02",
            "--",
            *patterns,
        )
        return [_commit(part) for part in reversed((listed or "").split("\x01")[1:])]


def _commit(text: str) -> Commit:
    name, date, subject, paths = text.split("\x02", maxsplit=3)
    return Commit(name, date, subject, tuple(path.strip("\n") for path in paths.split("\0") if path.strip("\n")))


def find_repository(folder: Path) -> Repository | None:
    """The checkout that contains a folder; None if there is none. Raises ReportError if git is not installed."""
    found = _git(folder, "rev-parse", "--show-toplevel")
    return Repository(Path(found.rstrip("\n"))) if found else None


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command, without a pager; None if it fails. Raises ReportError."""
    command = ["git", "-C", str(folder), "-c", "core.quotePath=false", "--no-pager", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - arguments are passed on as they are, without a shell
            command, capture_output=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ReportError("git is not installed, or not on PATH; give report files instead of revisions.") from error
    except subprocess.TimeoutExpired as error:
        raise ReportError(f"git {arguments[0]} took longer than {_SECONDS} s.") from error
    return done.stdout.decode("utf-8", errors="replace") if done.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class GitState:
    """The git checkout that a run was started in. `diff_hash` covers uncommitted changes; None if there are none."""

    commit: str
    dirty: bool
    diff_hash: str | None


def git_state(folder: Path, written: Sequence[Path] = ()) -> GitState | None:
    """State of the git checkout around `folder`; None outside of one, before its first commit, or where git fails.

    Changes in `written`, the folders that runs write to, do not make a checkout dirty: they cannot change a result.
    """
    try:
        return _state(folder, written)
    except (ReportError, OSError):  # a run needs no git; only a comparison of revisions does
        return None


def _state(folder: Path, written: Sequence[Path]) -> GitState | None:
    repository = find_repository(folder)
    commit = _git(folder, "rev-parse", "HEAD") if repository else None
    if repository is None or commit is None:
        return None
    root = repository.root
    inside = [path.absolute() for path in written if path.absolute().is_relative_to(root)]
    paths = ["--", ":(top)", *(f":(top,exclude,literal){path.relative_to(root)}" for path in inside)]
    changes = _git(folder, "status", "--porcelain", *paths) or ""
    difference = _git(folder, "diff", "HEAD", *paths) or ""
    dirty = bool(changes)
    return GitState(commit.strip(), dirty, digest([changes, difference]) if dirty else None)
