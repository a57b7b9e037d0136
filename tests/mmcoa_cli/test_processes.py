"""Each process has a GPU of its own, by the names that an outer CUDA_VISIBLE_DEVICES gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcoa_cli import processes

IDS = "GPU-4f1a, MIG-77c0/1/0 ,GPU-9e2b"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which torch sees three."""
    monkeypatch.setattr(processes, "DRIVERS", (tmp_path,))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv(processes.VISIBLE, raising=False)


def test_their_names(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.devices() == ["0", "1", "2"]
    for given, names in [
        (IDS, ["GPU-4f1a", "MIG-77c0/1/0", "GPU-9e2b"]),
        ("3,1,0,2", ["3", "1", "0"]),  # no more than torch sees
        ("5,-1,2", ["5"]),  # CUDA sees none behind one that it does not know
        ("", []),
    ]:
        monkeypatch.setenv(processes.VISIBLE, given)
        assert processes.devices() == names


def test_where_there_are_fewer_than_processes_some_share(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processes.VISIBLE, "7,4")
    assert [processes.own_device(number)[processes.VISIBLE] for number in range(5)] == ["7", "4", "7", "4", "7"]
    assert [processes.of_their_own(number) for number in (1, 2, 5)] == [1, 2, 2]


def test_without_a_driver_nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "DRIVERS", (tmp_path / "none",))
    monkeypatch.setenv(processes.VISIBLE, "0,1")
    assert (processes.own_device(1), processes.of_their_own(2)) == ({}, 1)
