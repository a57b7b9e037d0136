"""`mmcoa reproduce`: the plan of a table or figure, the work, and what the paper shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.errors import UserError

from ..catalog import TableRow
from ..catalog.tables import TIME
from ..reports.content import Report
from ..reports.page import Part, check_page, page, part_of
from ..reports.report import document, make_report, save, write
from ..settings import Home, home
from ..terminal.console import err, out, print_error, print_json, say
from .execution import Execution, verdict
from .explaining import explained
from .missing import lacking, made_by
from .plan import Plan, make_plan
from .plan_table import table
from .request import Request, remember

PAGE = Path("reproduce.html")  # in the current folder, where figures are drawn too


def reproduce(order: Request, *, dry_run: bool, output: Path | None, as_json: bool) -> None:
    """Print the plan; unless `dry_run`, do it, and print the tables and draw the figures. All of them are on one page,
    too, where they are several or it is asked for.

    Raises UserError where something keeps the plan from being made, and at the end where steps of it failed.
    """
    check_page(output)
    store = home()
    plan = told_plan(order, store, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    execution = Execution(store, order.start, at_once=order.jobs)
    failures = execution.what_can_be(plan.steps)
    took = execution.told()
    trained = {"source": (order.source,)} if order.source else {}
    found = {shown.name: _report(shown.narrowed(**trained), plan, store) for shown in order.tables}
    reports = [report for report in found.values() if isinstance(report, Report)]
    if as_json:
        documents = [document(report) for report in reports]
        done: dict[str, Any] = {**plan.document(), "failures": failures, "report": documents[0] if documents else None}
        done |= took
        print_json({**done, "reports": documents} if len(order.tables) > 1 else done)
    for report in () if as_json else reports:
        write(report, format=None, output=None, as_json=False)
    if output or len(order.tables) > 1:
        _write_page(order, found, output or PAGE, store)
    if error := verdict(failures, plan.steps):
        raise error


def told_plan(order: Request, store: Home, *, dry_run: bool, as_json: bool, measured: bool = True) -> Plan:
    """The plan, which is printed; unless `dry_run`, its size is remembered for the next time that it is ordered."""
    plan = make_plan(order, store, fetch_models=not dry_run, measured=measured)
    if dry_run:
        print_json(plan.document()) if as_json else out.print(table(plan))
        return plan
    err.print(table(plan))
    if order.preset == "quick":
        remember(order, plan.scale, store)
    return plan


def _report(shown: TableRow, plan: Plan, store: Home) -> Report | UserError:
    """What there is of a table, explained where that was asked for and can be; or why it cannot be shown, which is
    told."""
    try:
        if plan.order.explain and shown.cell != TIME:
            return explained(shown, plan, store)
        return make_report(shown, store, missing=lacking, made_by=made_by)
    except UserError as error:
        print_error(error)
        return error


def _write_page(order: Request, found: Mapping[str, Report | UserError], path: Path, store: Home) -> None:
    titles = {shown.name: shown.title for shown in order.tables}
    parts = [
        part_of(one, store) if isinstance(one, Report) else Part(name, titles[name], problem=f"{one}; {one.hint}")
        for name, one in found.items()
    ]
    save(page(parts, title=f"The paper's tables and figures, preset {order.preset}, {order.model}"), path)
    say(f"written to {path}")
