"""The whole of `mmcoa reproduce`: the plan, the work, the table or figure."""

from __future__ import annotations

from typing import Any

from ..settings import home
from ..terminal.console import err, out, print_json
from .execution import carry_out, verdict
from .order import Order, remember
from .plan import make_plan
from .result import document, show
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
    failures = carry_out(plan, store)
    if as_json:
        done: dict[str, Any] = {**plan.document(), "failures": failures, "report": document(order, store)}
        print_json(done)
    else:
        show(order, store)
    if error := verdict(failures, plan):
        raise error
