"""A table or figure as a row of data: the grid of results it shows, and what of it are lines, columns and cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

from .. import catalog

SOURCE = "source"  # as the dataset: each model is tested on what it was trained on
# what stands in a cell
VALUE, BEST, MEAN, TIME = "value", "value against the best", "mean over dataset", "minutes an epoch"
PICTURES = ("", "lines", "bars", "planes")
# of every grid; what else it has are options of attacks
AXES = ("method", "source", "shots", "training", "epoch", "dataset", "attack", "task", "metric", "w")
NEEDED = ("method", "source", "attack")
USUAL: Mapping[str, tuple[Any, ...]] = {
    "shots": ("full",), "training": ({},), "epoch": (None,), "w": (None,), "dataset": (SOURCE,),
    "task": ("classification",),
}  # fmt: skip
Pairs = tuple[tuple[str, Any], ...]  # options with their values


class Cell(NamedTuple):
    """One result of a grid: a method trained on `source` with the options `training`, tested after an `epoch` (None:
    the last) under an attack with its `options`. A model that nothing was trained on has no `source` and 0 `shots`.

    With a `w` it is of the model (1-w) A + w B between what was trained from, A, and the run."""

    method: str = ""
    source: str = ""
    shots: str = "0"
    training: Pairs = ()
    epoch: int | None = None
    w: float | None = None
    dataset: str = ""
    attack: str = ""
    options: Pairs = ()
    task: str = "classification"

    @property
    def of_run(self) -> Cell:
        """The same for all results of a run."""
        return Cell(self.method, self.source, self.shots, self.training)


class PaperSettings(NamedTuple):
    """What the paper's numbers were measured with: its models under any of their names, and the settings of attacks."""

    models: tuple[str, ...]
    mlm: str
    compat: str
    epochs: str  # of training, in words
    threat: Mapping[str, Mapping[str, Any]]
    of_task: Mapping[str, Mapping[str, Mapping[str, Any]]]  # `threat` of one of its tasks, where that is another
    variants: Mapping[str, Mapping[str, Any]]  # what its numbers call a method that was trained with other options


@dataclass(frozen=True)
class TableRow:
    """A table or figure. `grid` has the values of each axis: a list, or the name of one of the catalog's lists. Each
    value of `training` is a set of options of `mmcoa train`.

    `lines` and `columns` are axes, or other fields of a report's row; what is neither keeps tables apart. Lines are
    sorted by the first of their fields, then the next. `picture` says how it is drawn, empty for a table. A report has
    what the grid names, or with `every` all results of its task (`reports/standing.py`).
    """

    name: str
    title: str = ""
    heading: str = ""  # above results, with what these are in braces (`reports/titles.py`); empty: the title
    task: str = ""  # what its JSON calls it; empty: its name
    numbers: str = ""  # the task of paper.csv whose numbers stand beside its results; empty: `task`
    paper: Mapping[str, str] = field(default_factory=dict)  # the paper's table, by attack
    grid: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()  # the attacks of a report that names none; empty: all of them
    lines: tuple[str, ...] = ("method", "shots")
    columns: str = "attack"
    cell: str = VALUE
    picture: str = ""
    every: bool = False

    def __post_init__(self) -> None:
        lacking = [name for name in NEEDED if name not in self.grid]
        if lacking:
            raise ValueError(f"{self.name}: the grid of a table has no {', '.join(lacking)}")
        if self.picture not in PICTURES or self.cell not in (VALUE, BEST, MEAN, TIME):
            raise ValueError(f"{self.name}: no table has cells of {self.cell!r} and the picture {self.picture!r}")
        object.__setattr__(self, "task", self.task or self.name)
        object.__setattr__(self, "numbers", self.numbers or self.task)

    def axis(self, name: str) -> tuple[Any, ...]:
        """The values of an axis or option; none of an option that the grid does not have."""
        values = self.grid.get(name, USUAL.get(name, ()))
        values = catalog.lists().get(values, (values,)) if isinstance(values, str) else values
        return tuple(values) if isinstance(values, list | tuple) else (values,)

    @property
    def methods(self) -> tuple[str, ...]:
        return self.axis("method")

    @property
    def sources(self) -> tuple[str, ...]:
        """What is trained on."""
        return self.axis("source")

    @property
    def shots(self) -> tuple[str, ...]:
        return self.axis("shots")

    @property
    def on_source(self) -> bool:
        """Whether each model is tested on the dataset it was trained on, and on no other."""
        return self.axis("dataset") == (SOURCE,)

    @property
    def datasets(self) -> tuple[str, ...]:
        """What is tested on."""
        return self.sources if self.on_source else self.axis("dataset")

    @property
    def tested_on(self) -> tuple[str, ...]:
        """The same, empty where that is what each model was trained on."""
        return () if self.on_source else self.datasets

    @property
    def between(self) -> bool:
        """Whether it is about models between what was trained from and the run."""
        return self.axis("w") != (None,)

    @property
    def attacks(self) -> tuple[str, ...]:
        return self.axis("attack")

    @property
    def tested_in(self) -> str:
        """The task that its results are of."""
        return str(self.axis("task")[0])

    @property
    def options(self) -> dict[str, tuple[Any, ...]]:
        """The values of each option of an attack that the grid has."""
        return {name: self.axis(name) for name in self.grid if name not in AXES}

    def narrowed(self, **axes: Collection[Any]) -> TableRow:
        """The same with other values of some axes."""
        return replace(self, grid={**self.grid, **{name: tuple(values) for name, values in axes.items()}})

    def cells(self, uses: Mapping[str, Collection[str]] | None = None) -> list[Cell]:
        """The results that it shows, each once: of a model that nothing is trained on, one for each dataset and attack.

        `uses` names the options that each attack has, where it has not all of them.
        """
        found = (
            cell._replace(attack=attack, options=options)
            for cell in self._tests()
            for attack in self.attacks
            for options in self._settings(None if uses is None else uses[attack])
        )
        return list(dict.fromkeys(found))

    def _tests(self) -> Iterator[Cell]:
        """All that is tested, under no attack yet."""
        axes = (self.methods, self.sources, self.shots, self.axis("training"), self.axis("epoch"), self.axis("w"))
        for method, source, shots, training, epoch, w in product(*axes):
            for dataset in (source,) if self.on_source else self.datasets:
                if catalog.methods()[method].loss:
                    yield Cell(method, source, shots, tuple(training.items()), epoch, w, dataset, task=self.tested_in)
                else:
                    yield Cell(method, dataset=dataset, task=self.tested_in)

    def _settings(self, names: Collection[str] | None) -> Iterator[tuple[tuple[str, Any], ...]]:
        """The combinations of the options called `names`; one without any where there are none."""
        used = {name: values for name, values in self.options.items() if names is None or name in names}
        for values in product(*used.values()):
            yield tuple(zip(used, values, strict=True))
