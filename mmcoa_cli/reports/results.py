"""What a command that trains or evaluates ends with: the table of its results, or the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.index import Index

from .. import catalog
from ..jobs.job import Outcome
from ..settings import home
from ..terminal import console
from ..terminal.console import print_json, say
from .content import Report, report_of
from .pictures import examples_path, prompts, source_of
from .reading import Evaluated, rows_of, together
from .rows import as_dicts
from .table import print_table
from .titles import closing


def show(
    outcomes: Sequence[Outcome], *, as_json: bool, files: bool = False, took: Mapping[str, Any] | None = None
) -> None:
    """Print one table of the evaluations, and the runs' ids last; with `files`, where the examples lie. JSON says what
    it `took`, too."""
    if as_json:
        print_json({**document(outcomes), **(took or {})})
        return
    results = _results(outcomes)
    if results:
        print_table(_report(results))
    for result in results if files else ():
        console.show(f"{result.main.attack}: {examples_path(result.main, home())}")
        for prompt in _prompts(result):
            console.show("  {class}: {clean} -> {adversarial}".format_map(prompt))
    if untested := [outcome.run for outcome in outcomes if outcome.run and not outcome.evaluations]:
        say(f"next: mmcoa evaluate --checkpoint {','.join(untested)} --dataset {','.join(_trained_on(untested))}")
    for outcome in outcomes:
        if outcome.run:
            console.show(f"run {outcome.run}")


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The JSON of `train`, `evaluate`, `attack` and `demo`: the rows of `report`, the run, and the prompts."""
    results = _results(outcomes)
    answer: dict[str, Any] = {"rows": as_dicts(rows_of(results))}
    runs = [outcome.run for outcome in outcomes if outcome.run] or [result.run.id for result in results]
    answer["run"] = runs[-1] if runs else None
    if len(runs) > 1 and not results:  # which rows would name
        answer["runs"] = runs
    if prompts := [prompt for result in results for prompt in _prompts(result)]:
        answer["prompts"] = prompts
    return answer


def _trained_on(runs: Sequence[str]) -> list[str]:
    """The datasets that these runs were trained on, each once."""
    index = Index(home().database_url)
    return [*dict.fromkeys(run.source for name in runs if (run := index.run(name)))]


def _report(results: Sequence[Evaluated]) -> Report:
    """In the first of the catalog's tables that is of their task; they are all of one."""
    tables, task = catalog.tables().values(), results[0].main.task
    table = next((table for table in tables if table.tested_in == task), catalog.tables()["iid"])
    return report_of(rows_of(results, numbers=table.numbers), closing(table))


def _results(outcomes: Sequence[Outcome]) -> list[Evaluated]:
    wanted = [key for outcome in outcomes for key in outcome.evaluations]
    found = together(Index(home().database_url).results(evaluations=wanted))
    return sorted(found, key=lambda one: wanted.index(one.main.evaluation))


def _prompts(result: Evaluated) -> list[dict[str, str]]:
    """Every class prompt, where a text attack took part, with the names of the row that it belongs to."""
    main = result.main
    of = {"dataset": main.dataset, "run": main.run_id, "attack": main.attack, "evaluation": main.evaluation}
    return [
        {**of, "class": name, "clean": clean, "adversarial": adversarial}
        for name, clean, adversarial in prompts(source_of(main, home()), home())
    ]
