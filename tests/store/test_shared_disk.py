"""Which disks have locks that hold between machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.files import disk_of, judged


@pytest.mark.parametrize(
    ("kind", "options", "shared", "fault"),
    [
        ("ext4", "rw,relatime", False, ""),
        ("nfs4", "rw,vers=4.2,local_lock=none", True, ""),
        ("nfs", "rw,vers=3,nolock,local_lock=all", True, "nolock"),
        ("nfs", "rw,local_lock=flock", True, "local_lock=flock"),
        ("nfs", "rw,local_lock=posix", True, ""),  # flock goes to the server
        ("lustre", "rw,flock", True, ""),
        ("lustre", "rw,localflock", True, "localflock"),
        ("lustre", "rw", True, "without flock"),
        ("gpfs", "rw", True, ""),
        ("fuse.sshfs", "rw", True, "which has no locks between machines"),
    ],
)
def test_what_a_mount_says_of_its_locks(kind: str, options: str, shared: bool, fault: str) -> None:
    disk = judged("/data", kind, options)
    assert (disk.shared, disk.fault) == (shared, fault)


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk_of(tmp_path / "a" / "b") == disk_of(tmp_path)
