"""One writer for each journal: a lock that the operating system holds, and lets go of when its owner dies.

`flock` belongs to an open file and so survives `fork`, which is why a forked child closes its copy. It names the owner
by the process id that the owner wrote into the file. On a network file system neither the lock nor SQLite's log can be
relied upon, so a journal is refused there.
"""

import os
import re
from pathlib import Path

from livetrade.errors import JournalError

NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
    ]
)
"""Types of file systems that are somewhere else."""
MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class OwnerLock:
    """Held from `acquire` until `release`, or until the process ends however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._owner = 0  # the process that took it

    def acquire(self) -> None:
        """Raises `JournalError` naming the owner's pid when another engine holds it, `OSError`."""
        try:
            import fcntl
        except ImportError:
            raise JournalError("a journal in a file needs flock, which this system does not have") from None
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            owner = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise JournalError(self._taken(owner)) from None
        except BaseException:
            os.close(file)
            raise
        self._file, self._owner = file, os.getpid()

    def _taken(self, owner: str) -> str:
        whose = "an engine of this process" if owner == str(os.getpid()) else f"the process {owner}"
        return f"{self._path.name.removesuffix('.lock')} is in use by {whose} (pid {owner}); close its engine first"

    def release(self) -> None:
        """Lets go; in a forked child too, where the parent's lock stays as it is."""
        file, self._file = self._file, None
        if file is None:
            return
        if os.getpid() == self._owner:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_UN)  # also for a copy that a child, just forked, has not closed yet
        os.close(file)


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raises `JournalError` for a folder on a network file system, as far as the system tells."""
    kind = file_system(folder, mounts)
    if kind in NETWORK:
        raise JournalError(
            f"{folder} is on a network file system ({kind}), where a journal is not safe; keep it on a local disk"
        )


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a folder is on, as Linux tells it; empty where nothing tells."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(b" - ")
        if len(words := before.split()) < 5 or not after:
            continue
        point = _path(words[4])
        if (point == place or point in place.parents) and len(point.parts) >= best:  # the last mount on a point counts
            best, kind = len(point.parts), os.fsdecode(after.split()[0])
    return kind


def _path(escaped: bytes) -> Path:
    return Path(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), escaped)))
