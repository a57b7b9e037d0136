"""Options that go together: of a test, of a training run, and of how work is started.

A command has a parameter for each group (`terminal/flattened.py`), and hands on only what was typed of it. What was not
has the default of the attack or method that is asked for, which is not always the usual one that `--help` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import typer

from store.errors import UserError

from .. import catalog
from ..attacks import base
from ..catalog import MethodRow
from ..jobs import job
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import DEFAULT_MLM, TrainSpec, kinds_of, options_of, train_spec, unused
from ..processes import require_fit
from ..terminal.checks import positive
from ..terminal.console import say
from ..terminal.given import given, refuse_unused, typed_as
from ..terminal.options_file import read_from
from ..terminal.settings_options import fields_of, parse
from . import grid
from . import options as o


@dataclass(frozen=True)
class Test:
    """The options of `evaluate` and `attack` beside what is tested, and under which attacks."""

    task: o.Task = "classification"
    limit: o.Limit = None
    pixel_size: o.PixelSize = None
    norm: o.Norm = "linf"
    eps: o.Eps = "1/255"
    alpha: o.Alpha = None
    steps: o.Steps = 100
    stop_when_fooled: o.StopWhenFooled = False
    mlm: o.Mlm = DEFAULT_MLM
    no_collisions: o.NoCollisions = False
    seed: o.Seed = 0
    compat: o.Compat = "none"
    option: o.More = None
    batch_size: o.BatchSize = 128
    precision: o.Precision = "fp32"
    fast: o.Fast = False

    def general(self, context: typer.Context) -> dict[str, Any]:
        """The options that were typed and that no attack has to have."""
        own = {one.name for one in fields(EvaluationSpec)}
        return {name: value for name, value in _typed(context, self).items() if name in own}

    def chosen(self, context: typer.Context, attacks: Sequence[str], *, by: str) -> dict[str, Any]:
        """The options that were typed, with those of `-o`; attacks have their own defaults for the others.

        Raises UserError for those that none of these attacks has; `by` is what has no use for them ("--attack clean").
        """
        general = {one.name for one in fields(EvaluationSpec)}
        unused = set(base.every_option()) - set(base.options_of(attacks)) - general
        refuse_unused(context, unused, by=f"{by} has no use for it")
        have = fields_of((one.settings for one in base.with_needs(attacks)), but=general)
        return _typed(context, self) | _more(context, self, have, of=by)


@dataclass(frozen=True)
class Training:
    """The options of `train` that decide the weights; those left out (None) have the paper's values. Several of one
    (`grid.AXES`) are a run for each."""

    method: grid.Methods = grid.METHODS
    dataset: grid.Datasets = grid.DATASETS
    shots: grid.Shots = grid.SHOTS
    model: grid.Models = grid.MODELS
    epochs: o.Epochs = None
    lr: grid.Rates = None
    optimizer: o.Optimizer = None
    tune: o.TuneEncoders = None
    recipe: o.Recipe = None
    contrast: o.Contrast = "batch"
    image_weight: o.ImageWeight = 0.5
    text_weight: o.TextWeight = 0.5
    eps: o.Eps = "1/255"
    alpha: o.TrainingAlpha = "1/255"
    steps: o.TrainingSteps = 10
    mlm: o.Mlm = DEFAULT_MLM
    compat: o.Compat = "none"
    seed: grid.Seeds = grid.SEEDS
    option: o.TrainingMore = None
    batch_size: o.TrainingBatchSize = None
    precision: o.Precision = "fp32"
    fast: o.Fast = False

    def runs(self, context: typer.Context, *, tested: bool) -> list[TrainSpec]:
        """A run for each combination of what was typed, each once: of a method with those of the options, also of `-o`,
        that it has or the test after it, if it is `tested`.

        Raises UserError for options that nothing has a use for, and for too many runs.
        """
        rows, by = [catalog.methods()[name] for name in self.method], f"--method {self.method}"
        nobodys = set.intersection(*(unused(row, tested=tested) for row in rows))
        refuse_unused(context, nobodys, by=f"{by} has no use for it")
        have = {row.name: {n: k for n, k in fields_of(kinds_of(row)).items() if n in options_of(row)} for row in rows}
        for name in set(_typed(context, self)) - nobodys:
            _tell_whose(name, rows, tested=tested)
        more = _more(context, self, {n: kind for of_row in have.values() for n, kind in of_row.items()}, of=by)
        chosen = {**_typed(context, self), "method": self.method, "seed": self.seed}
        return [*dict.fromkeys(_run(cell, more, have, tested=tested) for cell in grid.cells(chosen))]


@dataclass(frozen=True)
class TestAfter:
    """The options of `train` that say how large the test is that a run ends with."""

    test_limit: o.TestLimit = None
    test_steps: o.TestSteps = None

    def size(self) -> dict[str, int | None]:
        return {"limit": self.test_limit, "steps": self.test_steps}


@dataclass(frozen=True)
class Conduct:
    """The options of `train` that say how a run is watched, and fitted into memory."""

    evaluate_every: o.EvaluateEvery = None
    track: o.Track = None
    micro_batch: o.MicroBatch = None
    recompute: o.Recompute = False
    workers: o.Workers = None

    def chosen(self) -> job.Conduct:
        return job.Conduct(**{**vars(self), "track": self.track or ""})


@dataclass(frozen=True)
class Start:
    """The options that say how work is started."""

    processes: o.Processes = 1
    accelerate_config: o.AccelerateConfig = None

    def chosen(self) -> job.Start:
        return job.Start(self.processes, self.accelerate_config)


@dataclass(frozen=True)
class StartOfSeveral(Start):
    """The same of a verb that does several steps."""

    jobs: o.Jobs = 1

    def at_once(self) -> int:
        """How many steps are done at once. Raises UserError for what cannot be."""
        positive("--jobs", self.jobs)
        require_fit("--jobs", self.jobs)
        if self.jobs > 1 and self.chosen() != job.Start():
            other = "--processes" if self.accelerate_config is None else "--accelerate-config"
            raise UserError(
                f"--jobs does each of several steps in one process, and {other} shares each among several",
                hint=f"--jobs {self.jobs} for many small steps, {other} for a large one",
            )
        return self.jobs


def _run(
    cell: Mapping[str, Any], more: Mapping[str, Any], have: Mapping[str, Mapping[str, Any]], *, tested: bool
) -> TrainSpec:
    """The run of one combination, of what its method has a use for; `more` are those of `-o`, which that method has."""
    useless = unused(catalog.methods()[cell["method"]], tested=tested)
    own = {name: value for name, value in more.items() if name in have[cell["method"]]}
    return train_spec(**{name: value for name, value in cell.items() if name not in useless} | own)


def _tell_whose(name: str, rows: Sequence[MethodRow], *, tested: bool) -> None:
    """Say which of several methods have no use for an option that others have."""
    without = [row.name for row in rows if name in unused(row, tested=tested)]
    if without:
        say(f"{typed_as(name)} is not an option of {', '.join(without)}, which is trained without it")


def _typed(context: typer.Context, options: Test | Training) -> dict[str, Any]:
    """Those of the options that were typed as such."""
    names = {*given(context)} - {"option"}
    return {name: value for name, value in vars(options).items() if name in names}


def _more(context: typer.Context, options: Test | Training, have: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Those that were typed as `-o NAME=VALUE`, or stand in the file of options and were not typed.

    Raises UserError for one that was typed as an option too.
    """
    more = parse(options.option or (), have, of=of)
    for name in more:
        if name in given(context, in_file=False):
            raise UserError(f"{typed_as(name)} is given twice", hint=f"leave out -o {name}, or {typed_as(name)}")
    file = read_from(context)
    if file is None:
        return more
    try:
        return parse([f"{name}={value}" for name, value in file.more.items()], have, of=of) | more
    except UserError as error:
        raise UserError(f"{file.path}: {error}", hint=error.hint) from error
