"""The measurement itself: of the real models, every part of it a time."""

from __future__ import annotations

from dataclasses import asdict

import torch

from mmcoa_cli.models.clip import Clip
from mmcoa_cli.plans.order import Order
from mmcoa_cli.plans.speed import Bench, measure
from mmcoa_cli.settings import Home


def test_everything_takes_time(home: Home) -> None:
    found = asdict(measure(Order("table1", model="vit", mlm="mlm", batch_size=16), home))
    assert found.pop("device") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.pop("ranks") == 1
    assert all(0 < seconds < 10 for seconds in found.values())


def test_a_batch_doubles_while_there_is_time(small_clips: dict[str, Clip]) -> None:
    bench, sizes = Bench(small_clips["vit"], torch.device("cpu")), list[int]()
    assert bench.each(sizes.append, 100, seconds=1e9) > 0
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 100]
    sizes.clear()
    bench.each(sizes.append, 100, seconds=0)
    assert sizes == [1]
