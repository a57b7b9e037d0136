"""Races: medians and ratios by hand, who leaves one, and what stays of one that is interrupted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmcoa_cli.bench.race import FLOOR, OURS, RELEASE, Entrant, Race, Running, Times


def taking(*seconds: float) -> Callable[[int], Times]:
    """Takes so many seconds, by the number of the round; one that warms up is the last of them."""
    return lambda number: Times(seconds[number], 2 * seconds[number])


def run(*entrants: Entrant, rounds: int = 3, clock: str = "cpu") -> Running:
    running = Running(Race("part", "work", "image", entrants, flops=8.0), clock, lambda: None)
    running.run(rounds)
    return running


def test_medians_and_ratios_of_the_same_round() -> None:
    ours = Entrant(OURS, taking(4.0, 2.0, 12.0), units=2.0)
    running = run(ours, Entrant(FLOOR, taking(1.0, 2.0, 4.0), 1.0), Entrant(RELEASE, taking(6.0, 4.0, 6.0), 1.0))
    own, floor, release = running.rows()
    assert (own.seconds, own.shortest, own.longest, own.cpu, own.wall, own.rounds) == (2.0, 1.0, 6.0, 2.0, 4.0, 3)
    assert (own.of_ours, own.of_floor) == (1.0, 1.5)  # 2/1, 1/2, 6/4
    assert (floor.of_ours, floor.of_floor) == (pytest.approx(2 / 3), 1.0)
    assert (release.of_ours, release.of_floor) == (3.0, 2.0)  # 6/2, 4/1, 6/6; 6/1, 4/2, 6/4
    assert (own.part, own.work, own.unit, own.flops) == ("part", "work", "image", 8.0)


def test_the_wall_counts_on_a_device_and_the_first_round_does_not() -> None:
    (row,) = run(Entrant(OURS, taking(1.0, 3.0, 5.0, 100.0), 1.0), clock="wall").rows()
    assert (row.seconds, row.cpu, row.wall, row.rounds, row.of_floor) == (6.0, 3.0, 6.0, 3, None)


def test_another_one_begins_each_round_and_what_is_made_ready_does_not_count() -> None:
    order: list[str] = []

    def noting(who: str) -> Entrant:
        return Entrant(who, lambda number: order.append(who), 1.0, before=lambda number: order.append(f"for {who}"))

    run(noting("a"), noting("b"), noting("c"))
    assert order[::2] == [f"for {who}" for who in order[1::2]]
    assert "".join(order[1::2]) == "abcbcacab"


def test_who_fails_leaves_and_ours_must_not() -> None:
    def fails(number: int) -> None:
        raise RuntimeError("no such kernel\nat all")

    def too_large(number: int) -> None:
        raise MemoryError

    running = run(Entrant(OURS, taking(1, 1, 1), 1.0), Entrant("x", fails, 1.0), Entrant("y", too_large, 1.0))
    assert [row.who for row in running.rows()] == [OURS]
    assert {one.who: one.why for one in running.absent} == {
        "x": "failed (RuntimeError: no such kernel)", "y": "out of memory",
    }  # fmt: skip
    with pytest.raises(RuntimeError):
        run(Entrant(OURS, fails, 1.0))


def test_an_interrupted_race_keeps_its_whole_rounds() -> None:
    def interrupted(number: int) -> Times:
        if number == 2:
            raise KeyboardInterrupt
        return Times(1.0, 1.0)

    running = Running(Race("p", "w", "u", [Entrant(OURS, interrupted, 1.0)]), "cpu", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        running.run(5)
    assert [row.rounds for row in running.rows()] == [2]
    running = Running(Race("p", "w", "u", [Entrant(OURS, interrupted, 1.0)]), "cpu", lambda: None)
    assert running.rows() == []
