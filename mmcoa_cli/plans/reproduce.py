"""`mmcoa reproduce`: the plan of a table or figure, the work, and what the paper shows of it."""

from __future__ import annotations

from typing import Any

from store.errors import UserError

from ..catalog import TableRow
from ..reports import formats
from ..reports.content import Report
from ..reports.report import make_report, write
from ..settings import Home, home
from ..terminal.console import err, out, print_error, print_json
from .execution import Execution, verdict
from .lacking import lacking
from .order import Order, remember
from .plan import make_plan
from .wording import table


def reproduce(order: Order, *, dry_run: bool, as_json: bool) -> None:
    """Print the plan; unless `dry_run`, do it, and print the table or draw the figure.

    Raises UserError where something keeps the plan from being made, and at the end where steps of it failed.
    """
    store = home()
    plan = make_plan(order, store, fetch_models=not dry_run)
    if dry_run:
        print_json(plan.document()) if as_json else out.print(table(plan))
        return
    err.print(table(plan))
    if order.preset == "quick":
        remember(order, plan.scale, store)
    failures = Execution(store, order.start).what_can_be(plan.steps)
    reports = [report for shown in order.tables if (report := _report(shown, store))]
    if as_json:
        documents = [formats.document(report) for report in reports]
        done: dict[str, Any] = {**plan.document(), "failures": failures, "report": documents[0] if documents else None}
        print_json({**done, "reports": documents} if len(order.tables) > 1 else done)
    for report in () if as_json else reports:
        write(report, format=None, output=None, as_json=False)
    if error := verdict(failures, plan.steps):
        raise error


def _report(shown: TableRow, store: Home) -> Report | None:
    """None, and why, where nothing could be computed; what failed has been told."""
    try:
        return make_report(shown, store, missing=lacking)
    except UserError as error:
        print_error(error)
        return None
