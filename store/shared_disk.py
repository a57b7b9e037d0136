"""Whether the locks of a store hold between machines: what kind of disk it lies on, and how that is mounted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from .files import existing

# `flock`, which the locks are: what of the mount says that it holds on one machine alone, or not at all
ALONE = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("local_lock=flock", "local_lock=all"),
    "lustre": ("localflock", "noflock"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
}
SHARED = {
    *ALONE,
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.ceph",
    "glusterfs",
    "fuse.glusterfs",
    "afs",
    "9p",
    "fuse.sshfs",
    "wekafs",
}
NONE = {"fuse.sshfs", "9p", "afs"}  # which pass no flock on to the server


@dataclass(frozen=True)
class Disk:
    """The disk of a folder: where it is mounted, of what kind it is, whether other machines see it, and what keeps its
    locks from holding between them (empty where nothing does)."""

    mounted: str
    kind: str
    shared: bool
    fault: str


def disk_of(folder: Path) -> Disk:
    """The disk that a folder lies on, or will lie on."""
    place = existing(folder).resolve()
    over = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    if not over:
        return Disk("/", "", shared=False, fault="")
    part = max(over, key=lambda part: len(part.mountpoint))
    return judged(part.mountpoint, part.fstype, part.opts)


def judged(mounted: str, kind: str, options: str) -> Disk:
    """The disk that is mounted so."""
    given = options.split(",")
    fault = next((option for option in ALONE.get(kind, ()) if option in given), "")
    if kind == "lustre" and "flock" not in given and not fault:
        fault = "without flock"
    if kind in NONE:
        fault = "which has no locks between machines"
    return Disk(mounted, kind, kind in SHARED, fault)
