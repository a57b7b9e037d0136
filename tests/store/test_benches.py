"""Benches in the index: kept whole, and found by the beginning of a name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from indexes import MEASURE, RUN

from store.benches import Benches
from store.errors import UserError
from store.index import Index

FLOOR = replace(MEASURE, number=1, who="floor", of_floor=1.0, flops=None)
LATER = replace(MEASURE, bench="bench-20261127-120000-abcd", created_at="2026-11-27T12:00:00+00:00")


def test_what_is_kept_comes_back(url: str) -> None:
    benches = Benches(url)
    benches.save([LATER])
    benches.save([MEASURE, FLOOR])
    benches.save([])
    assert Benches(url).every() == [MEASURE, FLOOR, LATER]
    assert benches.find("bench-20261126") == [MEASURE, FLOOR]
    assert benches.find(LATER.bench) == [LATER]
    Index(url).verify()


def test_a_bench_is_kept_whole_or_not_at_all(url: str) -> None:
    benches = Benches(url)
    with pytest.raises(UserError, match="the index cannot keep measures 'bench-20261126-120000-abcd': seconds is"):
        benches.save([MEASURE, replace(FLOOR, seconds=float("nan"))])
    assert benches.every() == []


@pytest.mark.parametrize("name", ["", "bench", "x"])
def test_a_name_that_names_no_bench_or_several(url: str, name: str) -> None:
    benches = Benches(url)
    benches.save([MEASURE])
    benches.save([LATER])
    with pytest.raises(UserError, match="bench"):
        benches.find(name)


def test_runs_are_another_thing(url: str) -> None:
    benches = Benches(url)
    benches.save_run(RUN)
    benches.save([MEASURE])
    benches.remove_run(RUN.id)
    assert (benches.runs(), benches.every()) == ([], [MEASURE])
