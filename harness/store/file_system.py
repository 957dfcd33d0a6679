"""Refuses a run store on a network file system, where neither SQLite's WAL mode nor file locks are dependable.

WAL needs shared memory, so that all processes must be on one host (https://www.sqlite.org/wal.html), and locks over a
network depend on server, client and mount options. A damaged store would be the first sign.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from mipo_bench.harness.errors import StorageError

_NETWORK = {
    *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "afs", "ncpfs", "webdav", "davfs"),
    *("lustre", "gpfs", "mmfs", "beegfs", "fhgfs", "ceph", "glusterfs", "orangefs", "pvfs2", "panfs", "wekafs"),
    *("moosefs", "mfs", "lizardfs", "juicefs", "quobyte", "dvs", "ocfs2", "gfs2", "sshfs", "s3fs", "gcsfuse"),
    *("goofys", "mount-s3", "mountpoint-s3", "blobfuse", "blobfuse2", "rclone"),
}
"""Types of file systems that several hosts share. Folders of the host in a virtual machine or container (9p, virtiofs)
are not among them: all processes that see such a folder run on one host."""


def network_type(folder: Path) -> str | None:
    """The type of the network file system that the folder is on, such as `nfs4`; None on a local one.

    The table of mounts decides, on Linux `/proc/self/mounts`. A folder that does not exist yet is where its nearest
    parent is.
    """
    where = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()).resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if where.is_relative_to(m.mountpoint)]
    # a later mount hides an earlier one at the same place: an automounter's own, for example
    kind = max(enumerate(mounts), key=lambda m: (len(m[1].mountpoint), m[0]))[1].fstype if mounts else ""
    bare = kind.lower().removeprefix("fuse.").removeprefix("fuse-")
    return kind if bare in _NETWORK else None


def check_local(folder: Path) -> None:
    """Raise StorageError if the store in this folder is, or would be, on a network file system."""
    if kind := network_type(folder):
        raise StorageError(
            f"the run store {folder} is on a network file system ({kind}), where SQLite's write-ahead log and file"
            " locks are not dependable: results could be lost or damaged. Take a folder on a disk of this machine, as"
            " --set store=/tmp/NAME, and copy it to the network when the run is over; `mipo-bench store merge FOLDER"
            " --into /tmp/NAME` brings such a copy back (docs/scale.md)."
        )
