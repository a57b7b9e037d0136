"""A report as a whole: the rows of a task, and what is missing among them."""

from __future__ import annotations

from dataclasses import dataclass

from store.index import Index

from .. import catalog
from ..settings import Home
from .missing import Missing, missing
from .rows import Row, attacks_of, rows


@dataclass(frozen=True)
class Report:
    """The rows of `task` under `attacks`, in the order of its tables."""

    task: catalog.TaskRow
    attacks: tuple[str, ...]
    rows: list[Row]
    missing: Missing


def make_report(task: catalog.TaskRow, home: Home, *, attacks: tuple[str, ...] = (), paper: bool = True) -> Report:
    """What the index of `home` holds for the task. Raises UserError when that is nothing, and for unknown attacks."""
    attacks = attacks_of(task, attacks)
    index = Index(home.database_url)
    found = rows(index, task, attacks=attacks, paper=paper)
    return Report(task, attacks, found, missing(index.runs(), found, task=task, attacks=attacks, home=home))
