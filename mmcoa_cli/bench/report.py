"""A finished bench as a document, and its comparison with an earlier one. Importing this module imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from store.errors import UserError

from ..settings import Home
from .race import FLOOR, OURS, Absent, Row

LARGEST = 2**24  # bytes of a file that an earlier bench may be read from
LAST = "last"
MACHINE = "machine"
GIGA = 1e9
SAME = ("model", "precision", "device", "threads")  # of two benches, or a ratio may have another reason than the code


@dataclass(frozen=True)
class Report:
    """All of one bench. `setting` says what was measured on what; `absent` who took no part."""

    bench: str
    created_at: str
    version: str
    setting: Mapping[str, Any]
    rows: Sequence[Row]
    absent: Sequence[Absent] = ()

    def document(self) -> dict[str, Any]:
        """For `--json`; seconds and operations are those of a unit."""
        return {
            "id": self.bench,
            "created_at": self.created_at,
            "version": self.version,
            **self.setting,
            "peak": peaks(self.rows),
            "rows": [{**asdict(row), "mfu": share_of_nominal(row, self.setting)} for row in self.rows],
            "absent": [asdict(one) for one in self.absent],
        }


@dataclass(frozen=True)
class Change:
    """A row then and now: of mmcoa's own time the ratio to the floor, of others' that to mmcoa's."""

    part: str
    work: str
    who: str
    then: float
    now: float

    @property
    def change(self) -> float:
        """The ratio of the ratios."""
        return self.now / self.then


@dataclass(frozen=True)
class Comparison:
    """With an earlier bench: the rows that both have, and the settings that are not the same."""

    bench: str
    changes: Sequence[Change]
    differs: Sequence[str]

    def document(self) -> dict[str, Any]:
        rows = [{**asdict(one), "change": one.change} for one in self.changes]
        return {"with": self.bench, "rows": rows, "differs": list(self.differs)}


def compared(now: Report, then: Report) -> Comparison:
    """What became of the ratios since."""
    before = {(row.part, row.work, row.who): row for row in then.rows}
    changes = []
    for row in now.rows:
        earlier = before.get((row.part, row.work, row.who))
        old, new = telling_ratio(earlier) if earlier else None, telling_ratio(row)
        if old and new and row.who != FLOOR:
            changes.append(Change(row.part, row.work, row.who, old, new))
    differs = [
        f"{name} {then.setting.get(name)} then, {now.setting.get(name)} now"
        for name in SAME
        if then.setting.get(name) != now.setting.get(name)
    ]
    return Comparison(then.bench, changes, differs)


def telling_ratio(row: Row) -> float | None:
    return row.of_floor if row.who == OURS else row.of_ours


def peaks(rows: Sequence[Row]) -> dict[str, float]:
    """What the machine did a second, by what: operations, or bytes."""
    return {row.work: GIGA / row.seconds for row in rows if row.part == MACHINE and row.seconds}


def share_of_nominal(row: Row, setting: Mapping[str, Any]) -> float | None:
    """The share of the operations a second that the card's maker states; None where nobody knows them."""
    nominal = setting.get("nominal")
    return row.flops / row.seconds / nominal if nominal and row.flops and row.seconds and row.who != FLOOR else None


def earlier(named: str, home: Home, *, model: str) -> Report:
    """The bench of this name (its beginning is enough), the last one of `model`, or that of a file of `--json`.

    Raises UserError where there is none.
    """
    path = Path(named)
    if path.suffix == ".json" or "/" in named:
        return read(path)
    from store.benches import Benches

    benches = Benches(home.database_url)
    if named != LAST:
        return of_measures(benches.find(named))
    found = [one for one in benches.every() if one.setting.get("model") == model]
    if not found:
        raise UserError(f"no bench of {model} is in the index", hint="leave --compare out, this once")
    return of_measures([one for one in found if one.bench == found[-1].bench])


def of_measures(measures: Sequence[Any]) -> Report:
    """A bench of the index."""
    first, names = measures[0], [one.name for one in fields(Row)]
    rows = [Row(*(getattr(one, name) for name in names)) for one in measures]
    return Report(first.bench, first.created_at, first.version, first.setting, rows)


def read(path: Path) -> Report:
    """The bench that a file holds, as `--json` printed it. Raises UserError."""
    if not path.is_file():
        raise UserError(f"there is no file {path}", hint="--compare takes a file of mmcoa bench --json, an id, or last")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    try:
        document = json.loads(content) if len(content) <= LARGEST else None
        return _parsed(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no bench", hint="--compare takes what mmcoa bench --json printed") from error


def _parsed(document: Any) -> Report:
    rows = [_row(one) for one in document["rows"]]
    known = ("id", "created_at", "version", "rows", "absent", "peak", "compare")
    setting = {name: value for name, value in document.items() if name not in known}
    return Report(str(document["id"]), str(document["created_at"]), str(document["version"]), setting, rows)


def _row(document: Mapping[str, Any]) -> Row:
    texts, may_lack = ("part", "work", "who", "unit"), ("of_ours", "of_floor", "flops")
    values = {one.name: document[one.name] for one in fields(Row)}
    for name, value in values.items():
        right = isinstance(value, str) if name in texts else isinstance(value, int | float) and value >= 0
        if not right and not (value is None and name in may_lack):
            raise ValueError(name)
    return Row(**values)
