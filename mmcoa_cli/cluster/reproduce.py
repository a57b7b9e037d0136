"""`mmcoa reproduce --on ...` and `--status`: a plan that is handed to a cluster, and how far it is."""

from __future__ import annotations

from pathlib import Path

from store.errors import UserError

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

    Raises UserError for --jobs on a cluster, and where there is none, before the plan is made; and where something
    could not be fetched: what needs none of it is handed in first.
    """
    store = home()
    if order.jobs > 1 and allocation.on == "slurm":
        raise UserError(
            f"--jobs {order.jobs} is of one machine; Slurm begins a job as soon as it has --gpus for it",
            hint="leave out --jobs",
        )
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
    jobs, file = order.jobs, _jobs(order, store)
    found = submit(rest, allocation, order.start, store, jobs=jobs, file=file, seen=waiting)
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
