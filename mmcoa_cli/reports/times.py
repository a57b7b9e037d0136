"""What training takes: of each run the time of an epoch, beside the paper's, each on hardware with a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from store.errors import UserError
from store.index import Index
from store.schema import Epoch

from .. import catalog
from .content import Report
from .lines import value_words
from .metrics import NONE
from .printed import Printed
from .rows import Row
from .sheet import Sheet
from .wording import devices, memory, plain, short

MINUTE = 60
COLUMNS = ("minutes", "images/s", "memory", "images", "epochs", "hardware")
CAPTION = "Minutes an epoch (the median of its epochs), images a second, and the memory that it took at most"


@dataclass(frozen=True)
class Timed:
    """What the epochs of a run took, and what the paper says of the same: `paper_minutes` is None where it does not."""

    run: str
    method: str
    model: str
    source: str
    shots: str
    seed: int
    training: str  # its settings that are not the paper's
    epochs: int
    images: int  # of an epoch
    minutes: float  # of an epoch, the median
    images_per_second: float
    peak_memory: int | None  # bytes
    device: str
    processes: int
    precision: str
    paper_minutes: float | None
    paper_hardware: str


@dataclass(frozen=True)
class TimeReport(Report):
    """The times of the runs whose results a table has."""

    timed: Sequence[Timed] = field(default_factory=list)

    @cached_property
    def rows(self) -> list[Row]:
        return []

    def dicts(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.timed]

    def newest(self) -> Report:
        return self

    def sheets(self, *, digits: int = 2) -> list[Sheet]:
        lines = [line for one in self.timed for line in _lines(one)]
        return [Sheet("an epoch of training", CAPTION, "method", [], list(COLUMNS), lines, self._remarks(), [])]

    def _remarks(self) -> list[str]:
        return [f"trained with {one.training}: {_label(one)}" for one in self.timed if one.training]


def time_report(report: Report, index: Index) -> TimeReport:
    """The times of the runs of `report`. Raises UserError where none was taken."""
    newest = {(row.method, row.model, row.source, row.shots, row.training): row for row in report.results if row.source}
    timed = [timed_of(row, epochs) for row in newest.values() if (epochs := index.epochs(row.run))]
    if not timed:
        raise UserError(
            f"the index holds no time of a training run for {report.table.name}",
            hint="mmcoa train --method mmcoa --shots 5: a run takes the time of its epochs",
        )
    return TimeReport(report.table, report.results, report.seeds, report.missing, report.made_by, timed=timed)


def timed_of(row: Row, epochs: Sequence[Epoch]) -> Timed:
    """The row's run, whose epochs these are."""
    seconds, last = median(epoch.seconds for epoch in epochs), epochs[-1]
    minutes, hardware = _paper(row)
    return Timed(
        **{name: getattr(row, name) for name in ("run", "method", "model", "source", "shots", "training")},
        **{name: getattr(last, name) for name in ("images", "device", "processes", "precision")},
        seed=row.train_seed,
        epochs=len(epochs),
        minutes=seconds / MINUTE,
        images_per_second=last.images / seconds if seconds else 0.0,
        peak_memory=max((epoch.peak_memory for epoch in epochs if epoch.peak_memory), default=None),
        paper_minutes=minutes,
        paper_hardware=hardware,
    )


def _paper(row: Row) -> tuple[float | None, str]:
    """The paper's minutes for the row's method and data, and on what: "4 x A6000, batch 256"."""
    for number in catalog.paper():
        same = (number.task, number.method, number.source, number.shots) == ("time", row.method, row.source, row.shots)
        if same:
            devices, _, batch = number.metric.partition("@")[2].partition(",batch")
            return number.value, f"{devices.replace('x', ' x ')}, batch {batch}"
    return None, ""


def _lines(one: Timed) -> Iterator[Printed]:
    yield Printed(
        "value",
        plain(_label(one)),
        [
            short(one.minutes), short(one.images_per_second), memory(one.peak_memory), f"{one.images:,}",
            str(one.epochs), plain(f"{devices(one)}, {one.precision}"),
        ],
    )  # fmt: skip
    if one.paper_minutes is not None:
        yield Printed("detail", "paper", [f"{one.paper_minutes:g}", NONE, NONE, NONE, NONE, one.paper_hardware])


def _label(one: Timed) -> str:
    return f"{one.method}, {value_words('shots', one.shots)} on {one.source}, {one.model}"
