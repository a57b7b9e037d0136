"""A bench as a document, read again, and compared with another one by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mmcoa_cli.bench.race import FLOOR, OURS, RELEASE, Absent, Row
from mmcoa_cli.bench.report import Change, Report, compared, earlier, peaks, read, share_of_nominal
from mmcoa_cli.bench.table import table
from mmcoa_cli.settings import Home
from store.benches import Benches
from store.errors import UserError
from store.schema import Measure

SETTING = {
    "model": "vit", "weights": "random", "precision": "fp32", "device": "a CPU, 1 threads", "threads": 1, "cores": 2,
    "torch": "2", "rounds": 5, "clock": "cpu", "nominal": None, "seconds": 12.0, "parts": ["image"],
    "facts": {"bytes of an attacked image": 31000},
}  # fmt: skip


def row(who: str, seconds: float, of_ours: float | None, of_floor: float | None, **other: object) -> Row:
    one = Row("image", "a step", who, "image", seconds, seconds, seconds, seconds, seconds, 5, of_ours, of_floor, 2e9)
    return replace(one, **other)  # type: ignore[arg-type]


NOW = Report(
    "bench-2", "2026-11-26T12:00:00+00:00", "0.1.0", SETTING,
    [row(OURS, 0.2, 1.0, 1.1), row(FLOOR, 0.18, 0.9, 1.0), row(RELEASE, 1.0, 5.0, 5.5),
     row("new", 0.4, 2.0, 2.2, rounds=3)],
    [Absent("image", "a step", "foolbox", "not installed")],
)  # fmt: skip
THEN = Report(
    "bench-1", "2026-11-25T12:00:00+00:00", "0.1.0", {**SETTING, "threads": 2},
    [row(OURS, 9.0, 1.0, 1.32), row(FLOOR, 9.0, 0.7, 1.0), row(RELEASE, 9.0, 4.0, 5.3), row("old", 1.0, 1.0, 1.0)],
)  # fmt: skip


def test_the_ratio_of_ratios() -> None:
    """Ours: 1.1 of the floor after 1.32. The release: 5 times ours after 4. Seconds are another machine's, perhaps."""
    found = compared(NOW, THEN)
    assert found.bench == "bench-1"
    assert found.changes == [
        Change("image", "a step", OURS, 1.32, 1.1), Change("image", "a step", RELEASE, 4.0, 5.0),
    ]  # fmt: skip
    assert [one.change for one in found.changes] == pytest.approx([1.1 / 1.32, 1.25])
    assert found.differs == ["threads 2 then, 1 now"]


def test_the_document_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "then.json"
    document = json.loads(json.dumps(NOW.document()))
    path.write_text(json.dumps(document), encoding="utf8")
    assert replace(read(path), setting=SETTING, absent=NOW.absent) == NOW
    assert document["rows"][0] == {
        "part": "image", "work": "a step", "who": "mmcoa", "unit": "image", "seconds": 0.2, "shortest": 0.2,
        "longest": 0.2, "cpu": 0.2, "wall": 0.2, "rounds": 5, "of_ours": 1.0, "of_floor": 1.1, "flops": 2e9,
        "mfu": None,
    }  # fmt: skip
    assert document["absent"] == [{"part": "image", "work": "a step", "who": "foolbox", "why": "not installed"}]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"rows": [{}], "id": 1}', "\x00", "[" * 100_000])
def test_a_file_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "then.json"
    path.write_text(content, encoding="utf8")
    with pytest.raises(UserError, match="is no bench"):
        read(path)


def test_a_row_that_cannot_be(tmp_path: Path) -> None:
    for name, value in {"seconds": "1", "of_ours": -1.0, "who": 3, "rounds": None}.items():
        document = NOW.document()
        document["rows"][0][name] = value
        (tmp_path / "then.json").write_text(json.dumps(document), encoding="utf8")
        with pytest.raises(UserError, match="is no bench"):
            read(tmp_path / "then.json")


def measures(report: Report) -> list[Measure]:
    return [
        Measure(
            report.bench, number, **vars(one), setting=report.setting, device="a CPU", version="1",
            created_at=report.created_at,
        )
        for number, one in enumerate(report.rows)
    ]  # fmt: skip


def test_an_earlier_bench_by_its_name_or_as_the_last_of_the_model(home: Home) -> None:
    benches = Benches(home.database_url)
    for report in (NOW, THEN, replace(THEN, bench="other", setting={**SETTING, "model": "resnet"})):
        benches.save(measures(report))
    assert earlier("last", home, model="vit").bench == "bench-2"
    assert earlier("bench-1", home, model="vit").rows == THEN.rows
    assert earlier("oth", home, model="vit").setting["model"] == "resnet"
    for name, said in {"bench": "2 benches begin", "x": "no bench begins", "": "3 benches begin"}.items():
        with pytest.raises(UserError, match=said):
            earlier(name, home, model="vit")
    with pytest.raises(UserError, match="no bench of ViT"):
        earlier("last", home, model="ViT")
    with pytest.raises(UserError, match="there is no file"):
        earlier("./x", home, model="vit")


def test_rates_and_shares() -> None:
    """2 GFLOP in a fifth of a second are 10 GFLOP/s: a tenth of what a card of 100 GFLOP/s has."""
    assert share_of_nominal(NOW.rows[0], {"nominal": 1e11}) == pytest.approx(0.1)
    assert share_of_nominal(NOW.rows[0], SETTING) is None
    assert peaks([row(FLOOR, 0.02, None, 1.0, part="machine", work="matrix product")]) == {"matrix product": 5e10}


@pytest.mark.parametrize(
    ("part", "clock", "told"), [("data", "cpu", True), ("data", "wall", False), ("image", "cpu", False)]
)
def test_what_the_cores_share_is_told_by_the_clock(part: str, clock: str, told: bool) -> None:
    console = Console(width=80, record=True)
    rows = [row(OURS, 0.2, 1.0, 1.1, part=part, wall=0.125)]
    console.print(table(replace(NOW, setting={**SETTING, "clock": clock}, rows=rows)))
    assert ("  by the clock, with all cores: 8 a second" in console.export_text()) is told


def test_the_table_says_who_took_how_long() -> None:
    console = Console(width=80, record=True)
    console.print(table(NOW, compared(NOW, THEN)))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["an", "image", "a", "second", "x", "floor", "x", "mmcoa", "then", "now/then"] in lines
    assert ["a", "step"] in lines
    assert ["mmcoa", "200", "ms", "5", "1.10", "1.00", "1.32", "0.83"] in lines
    assert ["release", "1", "s", "1", "5.50", "5.00", "4.00", "1.25"] in lines
    assert ["new", "(3)", "400", "ms", "2.5", "2.20", "2.00", "–", "–"] in lines
    assert ["foolbox:", "not", "installed"] in lines
    assert ["not", "the", "same:", "threads", "2", "then,", "1", "now"] in lines
    assert ["bytes", "of", "an", "attacked", "image:", "31,000"] in lines
    console = Console(width=80, record=True)
    console.print(table(replace(NOW, setting={**SETTING, "nominal": 1e11})))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["mmcoa", "200", "ms", "5", "1.10", "1.00", "10.0%"] in lines
