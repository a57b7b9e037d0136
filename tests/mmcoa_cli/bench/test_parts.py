"""Each part on a small model: one round is really run, and every row has what it is to have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmcoa_cli.bench.asked import PARTS
from mmcoa_cli.bench.bench import Bench
from mmcoa_cli.bench.race import FAST, FLOOR, OURS, RELEASE, Row, Running
from mmcoa_cli.bench.text import KNOWN, prompts_of, sample

UNITS = {"image": "image", "train": "image", "text": "class", "data": "image", "store": "image", "start": "start"}
WORK = {"image": 1, "train": 3, "text": 1, "data": 2, "store": 2, "start": 2}
OTHERS = {part: {RELEASE} for part in ("image", "train", "text", "data")} | {"store": {"float32"}, "start": set()}


def rows_of(bench: Bench, part: str) -> list[list[Row]]:
    found = []
    for race in PARTS[part].races(bench):
        running = Running(race, "cpu", bench.machine.wait)
        running.run(bench.sized.rounds)
        found.append(running.rows())
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_part_times_mmcoa_beside_others(bench: Callable[..., Bench], part: str) -> None:
    found = rows_of(bench(part), part)
    assert len(found) == WORK[part]
    for rows in found:
        assert {OURS, FLOOR} | OTHERS[part] <= {row.who for row in rows}
        assert all((row.part, row.unit, row.rounds) == (part, UNITS[part], 1) for row in rows)
        assert all(row.seconds > 0 and row.wall > 0 and row.shortest <= row.seconds <= row.longest for row in rows)
        assert all(row.of_ours and row.of_floor for row in rows)
        own, floor = (next(row for row in rows if row.who == who) for who in (OURS, FLOOR))
        assert (own.of_ours, floor.of_floor) == (1.0, 1.0)
        assert own.of_floor == pytest.approx(own.seconds / floor.seconds)


def test_a_part_that_is_asked_for_by_sizes(bench: Callable[..., Bench]) -> None:
    one = bench("image", batch_size=3, steps=2, classes=(4,))
    ((own, *_),) = rows_of(one, "image")
    assert own.work == "a step of PGD, 3 images of 8 pixels, 4 classes"
    assert one.told() == {"weights": "of the store", "mlm_weights": None}


def test_the_image_attack_is_measured_compiled_too_where_that_is_asked_for(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    compilations = list[object]()
    monkeypatch.setattr("mmcoa_cli.models.clip.compiled_twin", lambda encoder: compilations.append(encoder) or encoder)
    (rows,) = rows_of(bench("image", fast=True, rounds=2), "image")
    assert [row.who for row in rows][:2] == [OURS, FAST] and len(compilations) == 1


def test_a_text_attack_that_would_take_minutes_is_left_out_unless_it_is_asked_for(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcoa_cli.bench.text.ALLOWED", 0.0)
    races = PARTS["text"].races(bench("text", quick=False, rounds=1))
    found = []
    for race in races:
        running = Running(race, "cpu", lambda: None)
        if race.entrants:
            running.run(1)
        found.append((race.work, [one.who for one in running.rows()], [one.why for one in running.absent]))
    (_, first, _), *later = found
    assert first == [OURS, KNOWN, FLOOR, RELEASE]
    assert [work for work, _, _ in later] == ["BERT-Attack, 100 classes", "BERT-Attack, 1000 classes"]
    assert not any(who for _, who, _ in later)
    assert all(why.startswith("left out") and "--classes 100" in why for _, _, (why,) in later)
    assert [race.work for race in PARTS["text"].races(bench("text", classes=(2,)))] == ["BERT-Attack, 2 classes"]


def test_known_words_are_asked_of_no_masked_lm(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    one = bench("text", classes=(4,))
    first = prompts_of(one, 4, 0, mlm=one.mlm)
    (race,) = PARTS["text"].races(one)
    again = next(entrant for entrant in race.entrants if entrant.who == KNOWN)
    again.before(0)
    monkeypatch.delattr(one.mlm, "model")
    assert again.run(0) == first


def test_the_released_loop_is_asked_for_classes_from_all_over_the_list() -> None:
    assert [*sample(10, 1, 5)] == [2] and [*sample(100, 4, 5)] == [80]
    assert [*sample(1000, 1, 4)] == [25, 125, 225, 325, 425, 525, 625, 725, 825, 925]
    assert all(max(sample(number, turn, 5)) < number for number in (2, 10, 99, 150, 1000) for turn in range(-1, 5))
