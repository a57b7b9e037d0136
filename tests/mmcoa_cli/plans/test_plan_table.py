"""How a plan reads, at any width."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from mmcoa_cli.jobs.known import Known
from mmcoa_cli.plans.plan import Plan, compose
from mmcoa_cli.plans.plan_table import table
from mmcoa_cli.plans.request import PAPER, Request, Scale
from mmcoa_cli.plans.selection import select
from mmcoa_cli.plans.speed import Speed
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.durations import duration

from .conftest import of_the_paper


def shown(plan: Plan, width: int) -> str:
    text = StringIO()
    Console(file=text, width=width).print(table(plan))
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_a_line_for_each_run(home: Home, speed: Speed, width: int) -> None:
    plan = compose(Request(("table2",)), PAPER, [of_the_paper("table2")], known=Known(home), speed=speed)
    some = iter([True, True, True])
    steps = [
        replace(step, cached=True) if step.kind == "evaluate" and next(some, False) else step for step in plan.steps
    ]
    lines = shown(replace(plan, steps=tuple(steps)), width).splitlines()
    lines = [line.rstrip() for line in lines]
    assert all(len(line) <= width for line in lines)
    (zero_shot,) = [line for line in lines if line.startswith("clip, zero-shot")]
    assert "15 datasets: 3 cached, 12 to do" in zero_shot
    runs = lines[lines.index("trained on imagenet") + 1 :][:12]
    assert all("15 datasets: to do" in line for line in runs)
    assert any(line.startswith("12 runs (0 cached), 195 tests (3 cached); about ") for line in lines)
    one = next(step for step in plan.steps if step.kind == "evaluate")
    assert "\n1 test (0 cached); about " in shown(replace(plan, steps=(one,)), width)
    assert any(line.startswith("to fetch: ViT-B-32, bert-base-uncased") for line in lines)


def test_what_is_not_as_in_the_paper_stands_below(home: Home) -> None:
    plan = compose(Request(("table1",), model="vit", mlm="mlm"), PAPER, [of_the_paper("table1")], known=Known(home))
    text = shown(plan, 80)
    assert "no time: it is measured when the models are here" in " ".join(text.split())
    assert text.rstrip().endswith("- masked LM mlm instead of bert-base-uncased")


def test_a_plan_without_a_test_says_so(home: Home) -> None:
    """Retrieval, where no dataset has captions."""
    order = Request(("table6",), preset="quick", source="digits", model="vit", mlm="mlm")
    chosen = select(order.tables[0], order, home)
    assert not chosen.tested
    text = shown(compose(order, Scale("1", 1, 20, 3), [chosen], known=Known(home)), 80)
    assert "nothing of it can be computed with these datasets" in text and "nothing is left" not in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.1, "1 s"), (89, "89 s"), (100, "2 min"), (5399, "90 min"), (2 * 3600, "2 h"), (11_400, "3 h 10 min"),
     (86_000, "23 h"), (3 * 86400, "3 days"), (200_000, "2 days 8 h"), (1e8, "1,157 days"), (None, "?")],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
