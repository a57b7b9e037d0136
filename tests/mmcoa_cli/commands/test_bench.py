"""`mmcoa bench`: one document, rows in the index, an earlier bench beside it; and what ends it early."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mmcoa_cli.bench import running
from mmcoa_cli.bench.asked import PARTS, Asked, Part
from mmcoa_cli.bench.bench import Bench
from mmcoa_cli.bench.race import OURS, Entrant, Race
from mmcoa_cli.bench.report import Report
from mmcoa_cli.settings import Home
from store.benches import Benches
from store.errors import UserError

ABOUT = {
    "id", "created_at", "version", "parts", "model", "mlm", "weights", "mlm_weights", "rounds", "batch_size", "steps",
    "training_steps", "training_batch_size", "classes", "precision", "quick", "fast", "clock", "device", "threads",
    "cores", "torch", "python", "peers", "nominal", "load", "seconds", "facts", "peak", "rows", "absent",
}  # fmt: skip


@pytest.mark.slow
def test_a_bench_is_kept_and_compared(home: Home, typed: Callable[..., Any]) -> None:
    words = ("bench", "data", "--quick", "--model", "vit")
    code, out, err = typed(home, *words, "--json").end()
    first = json.loads(out)
    assert code == 0 and "measuring reading data: begun" in err
    assert set(first) == ABOUT
    assert (first["model"], first["weights"], first["clock"], first["rounds"]) == ("vit", None, "cpu", 1)
    assert {row["part"] for row in first["rows"]} == {"machine", "data"}
    assert all(rate > 0 for rate in first["peak"].values()) and len(first["peak"]) == 4
    kept = Benches(home.database_url).every()
    assert [(one.bench, one.work, one.who, one.seconds) for one in kept] == [
        (first["id"], row["work"], row["who"], row["seconds"]) for row in first["rows"]
    ]
    code, out, _ = typed(home, *words, "--compare", "last", "--json").end()
    found = json.loads(out)["compare"]
    assert found["with"] == first["id"] and found["differs"] == []
    own = {(row["work"], row["who"]): row["of_floor"] for row in first["rows"]}
    changes = [row for row in found["rows"] if row["who"] == OURS]
    assert len(changes) == 2
    for row in changes:
        assert row["then"] == own[row["work"], OURS] and row["change"] == pytest.approx(row["now"] / row["then"])
    code, out, _ = typed(home, "bench", "--list").end()
    assert code == 0 and first["id"] in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("image", "--model", "ViT-B-33"), "did you mean ViT-B-32"),
        (("text", "--mlm", "bert"), "mmcoa fetch bert"),
        (("data", "--compare", "x"), "mmcoa bench --list"),
        (("data", "--compare", "last"), "leave --compare out"),
        (("data", "--rounds", "0"), "above 0"),
        (("data", "--rounds", "5000"), "--rounds 5"),
        (("data", "--classes", "1"), "--classes 10,100,1000"),
        (("data", "--list"), "leave it out"),
    ],
)
def test_what_cannot_be_measured_is_said_before(
    home: Home, typed: Callable[..., Any], words: tuple[str, ...], said: str
) -> None:
    code, out, err = typed(home, "bench", *words).end()
    assert (code, out) == (1, "")
    assert "begun" not in err and said in err.splitlines()[-1]


@dataclass(frozen=True)
class Interrupted(Part):
    def races(self, bench: Bench) -> Iterator[Race]:
        def interrupt(number: int) -> None:
            if number == 1:
                raise KeyboardInterrupt

        yield Race("interrupted", "work", "image", [Entrant(OURS, interrupt, 1.0)])


def test_what_was_measured_is_shown_and_kept_when_it_is_interrupted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PARTS, "interrupted", Interrupted("what ends early", ""))
    shown: list[Report] = []
    with pytest.raises(KeyboardInterrupt):
        running.measure(Asked(("interrupted", "data"), "vit", "mlm", rounds=3), home, show=shown.append)
    (report,) = shown
    assert [row.rounds for row in report.rows if row.part == "interrupted"] == [1]
    assert {row.part for row in report.rows} == {"machine", "interrupted"}
    assert {one.bench for one in Benches(home.database_url).every()} == {report.bench}


def test_sizes_are_those_of_the_device_unless_they_are_given() -> None:
    asked = Asked(("image",), "vit", "mlm")
    small, large = asked.sized("cpu"), asked.sized("cuda")
    assert (small.batch_size, small.steps, small.training_steps, small.classes, small.rounds) == (
        8, 2, 1, (10, 100, 1000), 5,
    )  # fmt: skip
    assert (large.batch_size, large.steps, large.training_steps, large.rounds) == (128, 10, 10, 5)
    given = Asked(("image",), "vit", "mlm", batch_size=7, steps=3, classes=(20,), rounds=9).sized("cpu")
    assert (given.batch_size, given.steps, given.training_steps, given.classes) == (7, 3, 3, (20,))
    assert given.rounds == 9 and given.forced and not small.forced
    with pytest.raises(UserError):
        Asked(("image",), "vit", "mlm", batch_size=-1)
