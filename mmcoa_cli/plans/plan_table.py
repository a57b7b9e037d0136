"""A plan for a person: a line for each run with its tests summed up, and below it what is not as in the paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..space import size
from ..terminal.durations import duration
from .plan import Plan
from .resources import measured_on, total
from .steps import Fetch, Step

KINDS = (  # of steps, one and several
    ("train", "run", "runs"),
    ("interpolate", "way between two models", "ways between two models"),
    ("evaluate", "test", "tests"),
)


def table(plan: Plan) -> RenderableType:
    """The whole plan, at most as wide as the terminal."""
    order, lines = plan.order, Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    lines.add_column("run", min_width=16)
    lines.add_column("training", no_wrap=True)
    lines.add_column("tests on")
    lines.add_column("about", no_wrap=True, justify="right")
    source = ""
    for steps in _by_run(plan.steps):
        run = steps[0].of
        if run and run.dataset != source:
            source = run.dataset
            lines.add_row(Text(f"trained on {source}", style="bold cyan"))
        style = "dim" if _done(steps) else ""
        lines.add_row(steps[0].label, _training(steps), _tests(steps), _time(steps), style=style)
    settings = f"preset {order.preset} · {order.model} · {order.mlm} · seed {order.seed}"
    settings += "" if order.compat == "none" else f" · compat {order.compat}"
    titles = [Text(title, style="bold") for title in dict.fromkeys(table.title for table in order.tables)]
    head = [*titles, Text(settings, style="dim"), Text()]
    return Group(*head, *_fetches(plan), lines, Text(), *_sums(plan), *_left_out(plan.left_out))


def _by_run(steps: Iterable[Step]) -> list[list[Step]]:
    """The training and tests of each run or model, in the order of the plan."""
    runs: dict[object, list[Step]] = {}
    for step in steps:
        if not isinstance(step.work, Fetch):
            runs.setdefault((step.of, step.label), []).append(step)
    return list(runs.values())


def _done(steps: Iterable[Step]) -> bool:
    return all(step.cached for step in steps)


def _training(steps: Iterable[Step]) -> str:
    found = [step for step in steps if step.kind == "train"]
    return "-" if not found else "cached" if found[0].cached else duration(found[0].seconds)


def _tests(steps: Iterable[Step]) -> str:
    """ "15 datasets: 3 cached, 12 to do"; a single dataset is named."""
    tests: dict[str, bool] = {}
    for step in steps:
        for name in step.tested_on:
            tests[name] = tests.get(name, True) and step.cached
    where = f"{len(tests)} datasets" if len(tests) > 1 else next(iter(tests))
    cached = sum(tests.values())
    if cached in (0, len(tests)):
        return f"{where}: {'cached' if cached else 'to do'}"
    return f"{where}: {cached} cached, {len(tests) - cached} to do"


def _time(steps: Sequence[Step]) -> str:
    return "-" if _done(steps) else duration(total(step.resources for step in steps if not step.cached).seconds)


def _fetches(plan: Plan) -> list[RenderableType]:
    """One line: what is to be fetched, and how large that is."""
    steps = [step for step in plan.todo if isinstance(step.work, Fetch)]
    if not steps:
        return []
    left = sum(step.bytes for step in steps)
    about = f" ({size(left)} and more)" if left else ""
    names = ", ".join(step.work.name for step in steps if isinstance(step.work, Fetch))
    return [Text(f"to fetch: {names}{about}"), Text()]


def _sums(plan: Plan) -> list[RenderableType]:
    counts = []
    for kind, one, several in KINDS:
        steps = [step for step in plan.steps if step.kind == kind]
        if steps:
            word = one if len(steps) == 1 else several
            counts.append(f"{len(steps)} {word} ({sum(step.cached for step in steps)} cached)")
    if not counts:
        return [Text("nothing of it can be computed with these datasets", style="bold")]
    if not plan.computes:
        return [Text(f"{', '.join(counts)}: nothing is left to compute", style="bold")]
    if plan.speed is None:
        smallest = "" if plan.order.preset == "paper" else ", and the size chosen by it; this is the smallest"
        why = f"no time: it is measured when the models are here{smallest}"
        return [Text(f"{', '.join(counts)}; {why}", style="bold")]
    where = measured_on(plan.speed.device, plan.order.jobs)
    about = f"about {duration(plan.seconds)}, {size(plan.bytes)} on disk"
    return [Text(f"{', '.join(counts)}; {about}", style="bold"), Text(where, style="dim")]


def _left_out(left_out: Sequence[str]) -> list[RenderableType]:
    if not left_out:
        return []
    return [Text(), Text("not as in the paper", style="bold"), *(Text(f"- {line}") for line in left_out)]
