"""All of one run: its settings, what each epoch took, its files, its results, and the command that made it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal
from rich.text import Text

from store.errors import UserError
from store.index import Index
from store.printable import visible
from store.schema import Epoch, Run

from ..jobs.evaluation_spec import evaluation_after
from ..jobs.job import command_of_training, size_of_test
from ..jobs.training_spec import STAGES, stored_spec
from ..models.runs import INTERPOLATED, NO_RUN, made_again
from ..settings import Home
from ..stored.items import size_of
from ..tasks import TASKS
from ..terminal.console import out, show
from ..terminal.durations import closely
from ..terminal.options_file import as_toml
from .metrics import NONE, percent
from .reading import Evaluated, rows_of, together
from .rows import Row
from .runs import Accuracy, Listed, accuracy, listed_run
from .wording import devices, fixed, memory, short

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

WORTH_TELLING = 0.05
BARS = "▁▂▃▄▅▆▇█"
NUMBER = 12  # characters of the longest numbers, intervals and days
GAP = 2  # spaces between columns
BESIDE = ("method", "dataset", "model", "shots", "seed", "compat")  # settings that stand in the first lines


@dataclass(frozen=True)
class Described:
    """All of one run. `settings` are all of its training, `listed.settings` those that are not the paper's; `files` are
    folders of the store with the bytes in each; `command` makes it again."""

    listed: Listed
    finished_at: str | None
    weights: str | None
    settings: dict[str, Any]
    epochs: Sequence[Epoch]
    files: dict[str, int]
    results: Sequence[Accuracy]
    command: str

    def document(self) -> dict[str, Any]:
        """As JSON has it: the fields of the list of runs, and what is told of one."""
        beside = {name: value for name, value in vars(self).items() if name != "listed"}
        return {**asdict(self.listed), **beside, "settings": self.settings, "unusual": self.listed.settings}


def described(name: str, home: Home, *, made_by: Callable[[Sequence[Row]], list[str]]) -> Described:
    """The run of this id, or the one whose id begins so; `made_by` tells what to type for results of a model as it
    comes. Raises UserError where there is none, or are several.
    """
    index = Index(home.database_url)
    run = index.find_run(name, otherwise=NO_RUN)
    tests, epochs = together(index.results(runs=[run.id])), index.epochs(run.id)
    return Described(
        listed=listed_run(run, sum(epoch.seconds for epoch in epochs), [one.main for one in tests]),
        finished_at=run.finished_at,
        weights=run.weights,
        settings=_settings(run),
        epochs=epochs,
        files=_files(run, home),
        results=[accuracy(one.main) for one in tests],
        command=_command(run, tests, made_by),
    )


def _settings(run: Run) -> dict[str, Any]:
    """All settings of its training; of a run that was not trained here, what the index says of it."""
    found = json.loads(run.spec)
    with suppress(UserError, TypeError):  # of an index from elsewhere
        found = stored_spec(run.method, run.spec).document() if run.kind == "train" else found
    told = {name: value for name, value in found.items() if name not in BESIDE}
    return {**told, **({"recipe": told.pop(STAGES)} if STAGES in told else {})}


def _command(run: Run, tests: Sequence[Evaluated], made_by: Callable[[Sequence[Row]], list[str]]) -> str:
    """What to type for the run, with the test that it ended with; of a model as it comes, for its newest tests."""
    if run.kind == INTERPOLATED:
        return made_again(run)
    if run.kind != "train":
        commands = made_by(rows_of(tests, numbers=""))
        return (
            commands[-1] if commands else f"mmcoa evaluate --checkpoint {run.model if run.method == 'clip' else run.id}"
        )
    try:
        return command_of_training(stored_spec(run.method, run.spec), **_size_of_test(run, tests))
    except (UserError, TypeError):  # of an index from elsewhere
        return made_again(run)


def _size_of_test(run: Run, tests: Iterable[Evaluated]) -> dict[str, Any]:
    """How large the first test on its own dataset was: of how many images, against how many steps; None where all."""
    own = [test.main for test in tests if test.main.dataset == run.source and not test.main.setting.get("epoch")]
    ascents = [test.threat["image"] for test in own if "steps" in test.threat.get("image", {})]
    limit = own[0].setting.get("limit") if own else None
    return {"limit": limit, "steps": ascents[0]["steps"] if ascents else None}


def options_file(name: str, home: Home) -> str:
    """The options of `mmcoa train` that make this run, as a file for `--config`.

    Raises UserError for one that was not trained, or whose settings make no sense here.
    """
    index = Index(home.database_url)
    run = index.find_run(name, otherwise=NO_RUN)
    if run.kind != "train":
        raise UserError(f"{run.id} was not trained, and has no options of training", hint="mmcoa runs lists the runs")
    try:
        spec = stored_spec(run.method, run.spec)
    except TypeError as error:
        raise UserError(f"the settings of {run.id} make no sense here: {error}", hint=made_again(run)) from error
    test = evaluation_after(spec, **_size_of_test(run, together(index.results(runs=[run.id]))))
    options = {**spec.to_type(test), **size_of_test(test)}
    return f"# {visible(run.id)}, made by: mmcoa train --config FILE\n{as_toml(options)}"


def _files(run: Run, home: Home) -> dict[str, int]:
    """The folders that hold something of this run alone, with the bytes in each."""
    folders = [home.checkpoints / run.id, home.runs / run.id]
    return {str(folder): size_of(folder) for folder in folders if folder.is_dir()}


def print_described(found: Described) -> None:
    """Print a paragraph for each part; the command, to be copied, is never wrapped."""
    out.print(_parts(found))
    out.print(Text("\nmade by", style="bold cyan"))
    show(f"  {found.command}")


def _parts(found: Described) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding

    parts: list[RenderableType] = [Text(found.listed.run, style="bold")]
    for title, lines in _paragraphs(found):
        if lines:
            parts += [Text(), Text(title, style="bold cyan"), Padding(_Columns(lines), (0, 0, 0, 2))]
    return Group(*parts)


@dataclass(frozen=True)
class _Columns:
    """Lines with their cells below each other. Those that begin with their headings are told in words where a word or a
    number would have to be broken: a terminal that cuts 84.00 to 84 says something else."""

    lines: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _grid(self.lines) if len(self.lines[0]) == 2 or self._least <= options.max_width else _told(self.lines)

    @property
    def _least(self) -> int:
        """The columns that it takes without breaking a word."""
        cells = [*zip(*self.lines, strict=True)]
        return sum(max(map(len, column if _is_short(column) else " ".join(column).split(" "))) for column in cells) + (
            GAP * (len(cells) - 1)
        )


def _is_short(column: Sequence[str]) -> bool:
    """Whether it is not broken: others give way."""
    return max(map(len, column)) <= NUMBER


def _grid(lines: Sequence[Sequence[str]]) -> RenderableType:
    from rich.table import Table

    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for number, cells in enumerate(zip(*lines, strict=True)):
        grid.add_column(overflow="fold", no_wrap=_is_short(cells), style="" if number else "dim")
    for line in lines:
        grid.add_row(*line)
    return grid


def _told(lines: Sequence[Sequence[str]]) -> Text:
    """A paragraph for each line but the first, which has the headings."""
    headings, *rest = lines
    told = (", ".join(f"{name} {cell}".strip() for name, cell in zip(headings, cells, strict=True)) for cells in rest)
    return Text("\n".join(told))


def _paragraphs(found: Described) -> Iterator[tuple[str, list[Sequence[str]]]]:
    one = found.listed
    shots = {"0": "", "full": "all images", "1": "1 image a class"}.get(one.shots, f"{one.shots} images a class")
    made = [
        ("method", one.method),
        ("model", one.model),
        ("trained on", f"{one.dataset}, {shots}, seed {one.seed}" if one.dataset else ""),
        ("status", one.status),
        ("begun", one.created_at),
        ("took", closely(one.seconds) if one.seconds else ""),
        ("weights", (found.weights or "")[:16]),
    ]
    yield "what it is", [(name, value) for name, value in made if value]
    yield "not the paper's settings", [(name, str(value)) for name, value in one.settings.items()]
    yield "settings", [(name, _shown(value)) for name, value in found.settings.items() if value not in (None, "")]
    yield f"epochs  {sparkline([epoch.loss for epoch in found.epochs])}", [*_epochs(found.epochs)]
    yield "files", [(decimal(size), folder) for folder, size in found.files.items()]
    yield "results", [*_results(found.results)]


def _epochs(epochs: Sequence[Epoch]) -> Iterator[Sequence[str]]:
    if epochs:
        yield "", "loss", "took", "images/s", "memory", "on"
    for epoch in epochs:
        speed = short(epoch.images / epoch.seconds) if epoch.seconds else NONE
        used = memory(epoch.peak_memory), devices(epoch)
        yield str(epoch.epoch), f"{epoch.loss:.4f}", _took(epoch), speed, *used


def _took(epoch: Epoch) -> str:
    """How long, and the share of it in which images were waited for, where that is worth mentioning."""
    share = (epoch.waited or 0.0) / epoch.seconds if epoch.seconds else 0.0
    return closely(epoch.seconds) + (f", {share:.0%} waiting for images" if share >= WORTH_TELLING else "")


def _results(results: Sequence[Accuracy]) -> Iterator[Sequence[str]]:
    """One line each, the newest last."""
    plain = {metric for task in TASKS.values() if not task.shares for metric in task.metrics}
    unit = "value" if any(one.metric in plain for one in results) else "%"
    if results:
        yield "dataset", "attack", "metric", unit, "95%", "n", "when", "took"
    for one in results:
        words = fixed if one.metric in plain else percent
        low, high = one.ci95
        interval = f"{words(low)}–{words(high)}" if low is not None and high is not None else NONE
        what = (one.dataset, one.under, one.metric.replace("_", " "))
        yield *what, words(one.value), interval, f"{one.n:,}", one.created_at[:10], closely(one.seconds)


def _shown(value: Any) -> str:
    """A setting in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def sparkline(values: Sequence[float]) -> str:
    """A sign for each value, the higher the taller; of one value nothing."""
    if len(values) < 2 or max(values) == min(values):
        return ""
    step = (max(values) - min(values)) / (len(BARS) - 1)
    return "".join(BARS[round((value - min(values)) / step)] for value in values)
