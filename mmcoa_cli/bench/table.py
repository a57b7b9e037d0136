"""A bench for a person: a block for each piece of work, a line for each that did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from store.printable import visible

from ..terminal.durations import closely
from .asked import PARTS
from .race import OURS, Absent, Row
from .report import MACHINE, Change, Comparison, Report, share_of_nominal

TITLES = {"cpu": "CPU time", "wall": "time by the clock"}
UNITS = {"GFLOP": "GFLOP/s", "GB": "GB/s"}
Key = tuple[str, str]
Changes = Mapping[tuple[str, str, str], Change]
WIDE, NARROW = 15, 9  # columns: six of them fit into 80


def table(report: Report, comparison: Comparison | None = None) -> RenderableType:
    """What was measured, on what, and how it compares."""
    changes = {(one.part, one.work, one.who): one for one in comparison.changes} if comparison else {}
    parts: list[RenderableType] = [*_head(report), _machine(report)]
    for key, rows, absent in _blocks(report.rows, report.absent):
        parts.append(_block(report, key[1], rows, absent, changes, compares=comparison is not None))
    return Group(*parts, *_foot(report, comparison))


def _head(report: Report) -> Iterator[Text]:
    said = report.setting
    weights = {None: "", "random": " (random weights)"}.get(said.get("weights"), "")
    threads = said["threads"]
    yield Text(f"{said['model']}{weights}, {said['precision']}", style="bold")
    yield Text(f"{visible(str(said['device']))} of {said['cores']} cores, torch {said['torch']}" if threads else "")
    rounds = said["rounds"]
    of = f"median of {rounds} rounds" if rounds > 1 else "one round"
    yield Text(f"{of}, {TITLES[said['clock']]}")
    yield Text()


def _machine(report: Report) -> Text:
    """What it does at most."""
    rates = [
        f"{row.work} {_short(1 / row.seconds)} {UNITS[row.unit]}"
        for row in report.rows
        if row.part == MACHINE and row.seconds
    ]
    return Text("\n".join([*rates, ""]), style="dim")


def _blocks(rows: Sequence[Row], absent: Sequence[Absent]) -> Iterator[tuple[Key, list[Row], list[Absent]]]:
    """Each piece of work, with those that did it and those that did not, in the order of the parts."""
    of_work = {key: list(some) for key, some in groupby(rows, key=lambda row: (row.part, row.work))}
    without = {key: list(some) for key, some in groupby(absent, key=lambda one: (one.part, one.work))}
    for key in dict.fromkeys([*of_work, *without]):
        if key[0] != MACHINE:
            yield key, of_work.get(key, []), without.get(key, [])


def _block(
    report: Report, work: str, rows: Sequence[Row], absent: Sequence[Absent], changes: Changes, *, compares: bool
) -> RenderableType:
    """One piece of work; columns are as wide as those of all others."""
    known, unit = report.setting.get("nominal"), rows[0].unit if rows else "unit"
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(min_width=WIDE)
    head = [
        f"{'an' if unit[0] in 'aeiou' else 'a'} {unit}",
        "a second",
        "x floor",
        "x mmcoa",
        *(["MFU"] if known else []),
    ]
    head += ["then", "now/then"] if compares else []
    for _ in head:
        grid.add_column(justify="right", no_wrap=True, min_width=NARROW)
    grid.add_row("", *(Text(name, style="dim") for name in head))
    for row in rows:
        fewer = f" ({row.rounds})" if row.rounds != report.setting["rounds"] else ""  # rounds, where it was interrupted
        cells = [f"  {row.who}{fewer}", _time(row.seconds), _short(1 / row.seconds) if row.seconds else "–"]
        cells += [_ratio(row.of_floor), _ratio(row.of_ours)]
        cells += [_share(share_of_nominal(row, report.setting))] if known else []
        cells += _changed(changes.get((row.part, row.work, row.who))) if compares else []
        grid.add_row(*(Text(visible(cell), style="bold" if row.who == OURS else "") for cell in cells))
    others = [Text(visible(f"  {one.who}: {one.why}"), style="dim") for one in absent]
    return Group(
        Text(visible(work), style="bold cyan"), *([grid] if rows else []), *_by_the_clock(report, rows), *others
    )


def _by_the_clock(report: Report, rows: Sequence[Row]) -> Iterator[Text]:
    """What CPU time does not tell of work that the cores share."""
    for row in rows:
        shared = row.who == OURS and row.part in PARTS and PARTS[row.part].shared
        if shared and row.wall and report.setting["clock"] == "cpu":
            yield Text(f"  by the clock, with all cores: {_short(1 / row.wall)} a second", style="dim")


def _foot(report: Report, comparison: Comparison | None) -> Iterator[Text]:
    yield Text()
    for what, value in report.setting.get("facts", {}).items():
        yield Text(f"{what}: {value:,.0f}")
    if comparison:
        told = "then: of mmcoa the ratio to the floor, of others that to mmcoa"
        yield Text(visible(f"compared with {comparison.bench} ({told})"), style="dim")
        for one in comparison.differs:
            yield Text(visible(f"not the same: {one}"), style="bold yellow")
    yield Text("x floor, x mmcoa: the time beside that of what this machine could do, and of mmcoa, in the same round")
    yield Text(visible(f"{report.bench}, {closely(report.setting['seconds'])}"), style="dim")


def _changed(change: Change | None) -> list[str]:
    return [_ratio(change.then), f"{change.change:.2f}"] if change else ["–", "–"]


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _time(seconds: float) -> str:
    """ "312 ms", "1.23 s", "45 us"; three digits that count."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{_short(seconds / size)} {unit}"
    raise AssertionError


def _short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def listing(reports: Sequence[Report]) -> Table:
    """The benches of the index, the newest first."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(*(Text(name, style="dim") for name in ("bench", "model", "parts", "device", "when")))
    for one in reversed(reports):
        said = one.setting
        parts = " ".join(said.get("parts", ()))
        cells = (one.bench, str(said.get("model")), parts, str(said.get("device")), one.created_at[:16])
        grid.add_row(*(Text(visible(cell)) for cell in cells))
    return grid
