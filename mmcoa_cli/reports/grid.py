"""Rows to grids: sections whose columns are datasets, all under one attack, for models trained on one dataset.

A grid is one source, model, attack, threat model, compat, precision and seed; within it, a line is one training run,
and zero-shot CLIP, which has no source, stands in every grid of its model. Datasets have images of their own number and
size. What is not the same test set never shares a column: results on subsets have a grid apart, and so has a second
test set of the same name. Nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .. import catalog
from .rows import Row, order_by_shots
from .sections import Key, Line, grouped, image_of, lines_of, name_of, text_of


@dataclass(frozen=True)
class Grid:
    """Lines measured alike, their cells by dataset. `datasets` are those of the task, `others` are the user's own."""

    source: str  # empty where there is nothing but zero-shot results
    lines: list[Line]
    datasets: list[str]
    others: list[str]
    limit: int | None

    @property
    def rows(self) -> list[Row]:
        return [row for line in self.lines for cell in line.cells.values() for row in cell]

    def of(self, dataset: str) -> Row:
        """A row that tells what the dataset's column was measured on."""
        return next(row for row in self.rows if row.dataset == dataset)


def grids(rows: Sequence[Row], *, task: catalog.TableRow, seeds: bool = False) -> list[Grid]:
    """The grids of `rows`, by attack, model and source; with `seeds`, those of several seeds share a cell."""

    def alike(row: Row) -> Key:
        return (row.attack, row.model, row.compat, row.precision, 0 if seeds else row.seed, image_of(row), text_of(row))

    found: list[Grid] = []
    for group in grouped(sorted(rows, key=lambda row: _circumstances(row, task)), alike):
        groups = [
            (source, limit, same)
            for source in sorted({row.source for row in group if row.source}) or [""]
            for limit, subset in _by_limit([row for row in group if row.source in ("", source)])
            for same in _by_data(subset)
        ]
        for number, (source, limit, same) in enumerate(groups):
            if not _repeats(same, [other for _, _, other in groups[:number]], [o for _, _, o in groups[number + 1 :]]):
                found.append(_grid(source, limit, same, task=task, seeds=seeds))
    return found


def _circumstances(row: Row, task: catalog.TableRow) -> Key:
    """What grids are sorted by."""
    attack = task.attacks.index(row.attack)
    threat = f"{image_of(row)} {text_of(row)}"
    return (attack, row.model, row.compat, row.precision, row.seed, threat)


def _by_limit(rows: list[Row]) -> list[tuple[int | None, list[Row]]]:
    """The rows of whole test sets, then those of subsets by their size; a whole test set that is smaller than the
    limit is its own subset, and stands with both."""
    limits = sorted({row.limit for row in rows if row.limit is not None}, reverse=True)
    whole = [row for row in rows if row.limit is None]
    subsets = [(n, [row for row in rows if row.limit == n or (row.limit is None and row.n <= n)]) for n in limits]
    return [*([(None, whole)] if whole else []), *subsets]


def _by_data(rows: list[Row]) -> list[list[Row]]:
    """The rows parted so that no dataset has two test sets of one name; of several, the one of most rows is first."""
    parted: list[list[Row]] = []
    for same in grouped(rows, lambda row: (row.dataset,)):
        counts = Counter(map(_test_set, same))
        for number, (test_set, _) in enumerate(counts.most_common()):
            if number == len(parted):
                parted.append([])
            parted[number] += [row for row in same if _test_set(row) == test_set]
    return parted


def _test_set(row: Row) -> Key:
    return (row.partial, row.part, row.n, row.data, row.pixel_size)


def _repeats(rows: list[Row], before: list[list[Row]], after: list[list[Row]]) -> bool:
    """Whether all of `rows` stand in another group: one before, or one after that has more."""
    own = {row.evaluation for row in rows}
    return any(own <= {row.evaluation for row in other} for other in before) or any(
        own < {row.evaluation for row in other} for other in after
    )


def _grid(source: str, limit: int | None, rows: list[Row], *, task: catalog.TableRow, seeds: bool) -> Grid:
    there = {row.dataset for row in rows}
    return Grid(
        source if any(row.source for row in rows) else "",
        lines_of(rows, column=lambda row: row.dataset, order=order_by_shots, label=name_of, seeds=seeds),
        [name for name in task.datasets if name in there],
        sorted(there - set(task.datasets)),
        limit,
    )
