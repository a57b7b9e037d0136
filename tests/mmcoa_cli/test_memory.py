"""What a container allows is what there is."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from mmcoa_cli import memory

GB = 10**9


def laid(root: Path, own: str, files: dict[str, str]) -> list[tuple[int, int]]:
    """The groups that are found where the system shows these files, and `own` as the groups of a process."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    (root / "own").write_text(own)
    return [*memory.groups(root, root / "own")]


def test_of_version_2_every_group_around_it_counts(tmp_path: Path) -> None:
    """As Slurm has them: the step within the job, whose limit it is. What files take is free where it is needed."""
    files = {
        "slurm/job_7/memory.max": str(8 * GB),
        "slurm/job_7/memory.current": str(5 * GB),
        "slurm/job_7/memory.stat": f"anon {GB}\nfile {3 * GB}\ninactive_file {2 * GB}\nactive_file {GB}",
        "slurm/job_7/step_0/memory.max": "max",
        "slurm/job_7/step_0/memory.high": "max",
        "slurm/memory.max": "max",
    }
    assert laid(tmp_path, "0::/slurm/job_7/step_0\n", files) == [(8 * GB, 2 * GB)]


def test_of_version_1_a_container_sees_its_group_as_the_outermost(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": str(4 * GB),
        "memory/memory.usage_in_bytes": str(3 * GB),
        "memory/memory.stat": f"inactive_file 7\nactive_file 7\ntotal_inactive_file {GB}\ntotal_active_file 0",
    }
    own = "9:name=systemd:/docker/1f\n4:memory:/docker/1f\n2:cpu,cpuacct:/docker/1f\n0::/\n"
    assert laid(tmp_path, own, files) == [(4 * GB, 2 * GB)]


@pytest.mark.parametrize("own", ["", "0::/\n"])
def test_without_a_limit_it_is_the_machines(tmp_path: Path, own: str) -> None:
    assert laid(tmp_path, own, {"memory.max": "max"}) == []
    assert [*memory.groups(tmp_path, tmp_path / "none")] == []


def test_it_is_no_more_than_the_machine_has() -> None:
    assert 0 < memory.available() < memory.installed() <= psutil.virtual_memory().total
