"""What a reproduction ends with: the report of its task, or its figure.

The only place that knows how `mmcoa report` is asked for it.
"""

from __future__ import annotations

from typing import Any

from store.errors import UserError

from ..reports import formats
from ..reports.content import Report
from ..reports.report import make_report, write
from ..settings import Home
from ..terminal.console import print_error
from .order import Order


def show(order: Order, home: Home) -> None:
    """Print the table, or draw the figure into the current folder; or say why there is none yet."""
    try:
        write(_report(order, home), format=None, output=None, as_json=False)
    except UserError as error:  # nothing could be computed; what failed has been told
        print_error(error)


def document(order: Order, home: Home) -> dict[str, Any] | None:
    """The same as JSON; None where there is none yet."""
    try:
        report = _report(order, home)
    except UserError:
        return None
    return formats.document(report)


def _report(order: Order, home: Home) -> Report:
    return make_report(order.row, home)
