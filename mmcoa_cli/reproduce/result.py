"""What a reproduction ends with: the report of its task, or its figure.

The only place that knows how `mmcoa report` is asked for it.
"""

from __future__ import annotations

from typing import Any

from store.errors import UserError
from store.index import Index

from .. import catalog
from ..console import say
from ..reports import formats
from ..reports.rows import Row, rows
from ..reports.table import print_table
from ..settings import Home
from .order import Order


def show(order: Order, home: Home) -> None:
    """Print the table, or say why there is none yet."""
    task = catalog.tasks().get(order.row.task)
    if task is None:
        say(f"mmcoa report has no task {order.row.task} yet; what was computed is in the index: mmcoa report")
    elif found := _rows(order, task, home):
        print_table(found, task=task)


def document(order: Order, home: Home) -> dict[str, Any] | None:
    """The same as JSON; None where there is none yet."""
    task = catalog.tasks().get(order.row.task)
    return formats.document(found, task=task) if task and (found := _rows(order, task, home)) else None


def _rows(order: Order, task: catalog.TaskRow, home: Home) -> list[Row]:
    try:
        found = rows(Index(home.database_url), task)
    except UserError:  # nothing could be computed; the failures have been told
        return []
    return [row for row in found if order.row.report_attack in ("", row.attack)]
