"""What a command that trains or evaluates ends with: the table of its results, or the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from store.datasets import Dataset
from store.index import Index
from store.schema import Evaluation, Run

from .. import catalog
from ..datasets.fetching import dataset_path
from ..jobs.worker import Outcome
from ..settings import home
from ..terminal import console
from ..terminal.console import print_json, say
from .content import Report, report_of
from .formats import as_dicts
from .rows import row_of
from .table import print_table


def show(outcome: Outcome, *, as_json: bool, files: bool = False) -> None:
    """Print the table of the evaluations, and the run's id last; with `files`, where the examples lie."""
    if as_json:
        print_json(document([outcome]))
        return
    results = _results([outcome])
    if results:
        print_table(_report(results))
    for _, evaluation in results if files else ():
        console.show(f"{evaluation.attack}: {home().examples / evaluation.examples}.h5")
        for _, name, clean, adversarial in _prompts(evaluation):
            console.show(f"  {name}: {clean} -> {adversarial}")
    if outcome.run and not results:
        say(f"next: mmcoa evaluate --checkpoint {outcome.run} --dataset DATASET")
    if outcome.run:
        console.show(f"run {outcome.run}")


def show_all(outcomes: Sequence[Outcome]) -> None:
    """Print one table of several outcomes."""
    print_table(_report(_results(outcomes)))


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The JSON of `train`, `evaluate`, `attack` and `demo`: the rows of `report`, the run, and the prompts."""
    results = _results(outcomes)
    answer: dict[str, Any] = {"rows": as_dicts([row_of(*result) for result in results])}
    runs = [outcome.run for outcome in outcomes if outcome.run] or [run.id for run, _ in results]
    answer["run"] = runs[-1] if runs else None
    prompts = [prompt for result in results for prompt in _prompts(result[1])]
    if prompts:
        keys = ("dataset", "class", "clean", "adversarial")
        answer["prompts"] = [dict(zip(keys, prompt, strict=True)) for prompt in prompts]
    return answer


def _report(results: Sequence[tuple[Run, Evaluation]]) -> Report:
    return report_of([row_of(*result) for result in results], catalog.tables()["iid"])


def _results(outcomes: Sequence[Outcome]) -> list[tuple[Run, Evaluation]]:
    index = Index(home().database_url)
    wanted = [key for outcome in outcomes for key in outcome.evaluations]
    found = {evaluation.id: (run, evaluation) for run, evaluation in index.evaluations()}
    return [found[key] for key in wanted]


def _prompts(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """(dataset, class, clean, adversarial) of every class prompt, where a text attack took part."""
    if evaluation.prompts is None:
        return []
    names = Dataset.info_of(dataset_path(evaluation.dataset, home())).class_names
    pairs = json.loads(evaluation.prompts)
    return [(evaluation.dataset, name, *pair) for name, pair in zip(names, pairs, strict=True)]
