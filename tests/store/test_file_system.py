"""A store on a network file system is refused. The table of mounts is a file, as the kernel writes it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
from golden_files import run
from made_reports import made_store

from mipo_bench.harness.store.file_system import network_type

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the table of mounts is /proc/self/mounts on Linux")
TABLE = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /dev/shm tmpfs rw 0 0
{root}/auto {root}/auto autofs rw,fd=6 0 0
server:/export {root}/auto nfs4 rw,vers=4.2,addr=10.0.0.2 0 0
10.0.0.3@tcp:/work {root}/lustre lustre rw,flock 0 0
/dev/nvme0n1 {root}/lustre/scratch xfs rw 0 0
//nas/share {root}/with\\040blank cifs rw 0 0
me@host: {root}/ssh fuse.sshfs rw 0 0
/dev/sdb {root}/usb fuseblk rw 0 0
share {root}/guest 9p rw,trans=virtio 0 0
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mounts, by a table that psutil reads in place of the kernel's (its setting PROCFS_PATH)."""
    for folder in ("proc/self", "auto", "lustre/scratch", "with blank", "ssh", "usb", "guest"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc" / "self" / "mounts").write_text(TABLE.format(root=tmp_path))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("auto/project/.mipo-bench", "nfs4"),
        ("lustre/store", "lustre"),
        ("lustre/scratch/store", None),
        ("lustre-of-mine/store", None),
        ("with blank", "cifs"),
        ("ssh/a/b", "fuse.sshfs"),
        ("usb/store", None),
        ("guest/store", None),
        (".mipo-bench", None),
        ("here/store", "nfs4"),
    ],
)
def test_the_innermost_mount_decides(folder: str, kind: str | None, root: Path) -> None:
    (root / "here").symlink_to(root / "auto")
    assert network_type(Path(folder)) == network_type(root / folder) == kind


def test_the_store_of_this_machine_is_local(tmp_path: Path) -> None:
    """The temporary folder of the tests; if it is on a network, so are their stores, and most tests fail."""
    assert network_type(tmp_path) is None


COMMANDS = ("run --task facts --set store=lustre/s", "store ls --store lustre/a", "store merge b --into lustre/s")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_on_a_network_is_refused_with_the_way_out(
    command: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as real:
        real.setattr(psutil, "PROCFS_PATH", "/proc")
        for name in ("lustre/a", "b"):
            made_store(root / name)
    refused = run(command, capsys)
    assert refused.code == 2
    assert "is on a network file system (lustre), where SQLite's write-ahead log" in refused.err
    assert "--set store=/tmp/NAME" in refused.err
    assert not (root / "lustre" / "s").exists()


def test_a_store_on_a_network_can_be_merged_into_a_local_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as real:
        real.setattr(psutil, "PROCFS_PATH", "/proc")
        made_store(root / "lustre" / "a")
    done = run("store merge lustre/a --into lustre/scratch/c", capsys)
    assert (done.code, done.err) == (0, "")
    assert "merged 1 store into lustre/scratch/c: added 68 responses" in done.out


def test_doctor_says_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "answers.jsonl").write_text('{"item_id": "eval-0000", "arm": "plain", "response": "3"}\n')
    shown = run("doctor --task arithmetic --model answers.jsonl --set store=auto/s", capsys)
    assert shown.code == 1
    assert "the run store auto/s is on a network file system (nfs4)" in " ".join(shown.out.split())
