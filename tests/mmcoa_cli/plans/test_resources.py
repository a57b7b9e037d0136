"""What work takes of which parts are done at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcoa_cli import processes
from mmcoa_cli.plans.resources import Resources, measured_on, total, total_at_once

ON_CPU = "estimated from a short measurement on this CPU"
PARTS = [Resources(seconds, memory, 10.0) for seconds, memory in [(6.0, 3.0), (2.0, 5.0), (3.0, 1.0), (4.0, 2.0)]]


def test_on_one_device_it_takes_as_long_and_the_memory_of_all() -> None:
    assert total_at_once(PARTS, 1) == total(PARTS) == Resources(15.0, 5.0, 40.0)
    assert total_at_once(PARTS, 2) == Resources(15.0, 8.0, 40.0)
    assert measured_on("CPU", 1) == ON_CPU and "one behind the other" in measured_on("CPU", 2)


def test_on_several_each_next_goes_to_the_first_that_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "DRIVERS", (tmp_path,))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert total_at_once(PARTS, 2) == Resources(9.0, 5.0, 40.0)  # 6 beside 2, 3 and 4
    assert total_at_once(PARTS, 3) == Resources(9.0, 8.0, 40.0)  # two share a device
    assert total_at_once([*PARTS, Resources()], 2) == Resources()
    assert measured_on("CPU", 3) == f"{ON_CPU}; 3 at once on 2 devices"
