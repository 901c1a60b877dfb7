"""Where the file may lie: SQLite's WAL needs memory that all its processes share, so one machine's own disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sessile.errors import StoreUnavailable

_MOUNTS = Path("/proc/self/mountinfo")
_SHARED = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "vboxsf", "prl_fs", "virtiofs",
        "fakeowner", "fuse.sshfs", "fuse.ceph", "fuse.glusterfs", "fuse.grpcfuse", "fuse.osxfs", "fuse.rclone",
        "fuse.s3fs", "fuse.vmhgfs-fuse",
    }
)  # fmt: skip
_OCTAL = re.compile(r"\\([0-7]{3})")


def check_filesystem(path: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a file system that another machine also sees. Only Linux can tell; elsewhere this does nothing.

    Raises:
        StoreUnavailable: it is one (review 6d: a commit made on the other side is not seen on this one).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    kind = _kind(os.path.realpath(path), lines)
    if kind in _SHARED:
        raise StoreUnavailable(
            f"{path} lies on a network file system or a host's mount ({kind}), where a revocation by one side is not"
            " seen by the other: put the database on a local disk or a container's own volume"
        )


def _kind(real: str, lines: list[str]) -> str:
    # The longest mount point that is a prefix; of equals the last, which hides the others.
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, source = left.split(), right.split()
        if len(fields) < 5 or not source:
            continue
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, source[0]
    return kind
