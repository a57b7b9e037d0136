"""`mmcoa reproduce --on ...` and `--status`: a plan that is handed to a cluster, and how far it is."""

from __future__ import annotations

from pathlib import Path

from ..plans.execution import Execution, verdict
from ..plans.plan import make_plan
from ..plans.reproduce import told_plan
from ..plans.request import Request, file_of, remembered
from ..settings import Home, home
from ..terminal.console import out, print_json, say
from . import records
from .submission import Allocation, executor_of, submit


def hand_in(order: Request, allocation: Allocation, *, dry_run: bool, as_json: bool) -> None:
    """Print the plan; unless `dry_run`, fetch here what is missing, where there is a network, and hand the rest in.

    Raises UserError where there is no such cluster, before the plan is made, and where something could not be fetched;
    what needs none of it is handed in first.
    """
    store = home()
    if not dry_run:
        executor_of(allocation.on, store)  # says now that there is no Slurm, and not when the plan was measured
    waiting = records.active(records.read(_jobs(order, store)))  # before it is looked at what is left
    chosen = order.preset == "paper" or remembered(order, store)  # else its size takes a measurement
    plan = told_plan(order, store, dry_run=dry_run, as_json=as_json, measured=not chosen)
    if dry_run:
        return
    execution = Execution(store, order.start)
    failures = execution.what_can_be([step for step in plan.steps if step.kind == "fetch"])
    rest = [step for step in plan.steps if step.kind != "fetch" and not execution.missed(step)]
    found = submit(rest, allocation, order.start, store, file=_jobs(order, store), seen=waiting)
    if as_json:
        print_json({**plan.document(), "failures": failures, "jobs": found})
    elif found:
        say("see how far they are with the same command and --status instead of --on; without either, print the tables")
    else:
        say("nothing is left to hand in: print the tables with the same command without --on")
    if error := verdict(failures, plan.steps):
        raise error


def show(order: Request, *, as_json: bool) -> None:
    """Print the jobs of a plan. Raises UserError where none was handed in."""
    store = home()
    plan = make_plan(order, store, fetch_models=False, measured=False)
    found = records.status(plan.steps, store, file=_jobs(order, store))
    print_json({"jobs": found}) if as_json else out.print(records.table(found))


def _jobs(order: Request, store: Home) -> Path:
    return file_of(order, store, ending="jobs.json")
