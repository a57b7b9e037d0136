"""What a task is: the data it takes, what it asks of a victim, what it stores of each sample, and its metrics.

Importing this module loads nothing heavy: metrics are computed from what an example set stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from store.errors import UserError

from .. import catalog
from .intervals import wilson

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from store.dataset_info import DatasetInfo

    from ..attacks.base import Attack, Goal
    from ..models.victim import Victim

    Ints = npt.NDArray[np.int64]
    Columns = Mapping[str, npt.NDArray[Any]]  # one row a sample
    Column = Callable[[str], npt.NDArray[Any]]  # what is stored, by its name

Logits = Callable[["Tensor"], "Tensor"]  # pixels (B, 3, S, S) -> logits (B, K)


class Metric(NamedTuple):
    """A share of `n`, or a mean over them, with the ends of its 95% interval where it has one."""

    name: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None


class Data(Protocol):
    """What a task asks of a dataset: one of the store, or images that are given."""

    @property
    def info(self) -> DatasetInfo: ...
    def labels(self, split: str) -> Ints: ...
    def captions(self, split: str) -> list[list[str]]: ...


@dataclass(frozen=True)
class Drawn:
    """The images that a task is run on: some of a split, by their numbers."""

    dataset: Data
    split: str
    indices: Ints

    @property
    def labels(self) -> Ints:
        labels: Ints = self.dataset.labels(self.split)[self.indices]
        return labels

    @cached_property
    def captions(self) -> list[list[str]]:
        """Those of each image. Raises UserError for a dataset without any."""
        every = self.dataset.captions(self.split)
        return [every[index] for index in self.indices.tolist()]


@dataclass(frozen=True)
class Task(ABC):
    """One task. `metrics` are what its tables show, `details` what stands beside them."""

    name: str
    title: str = ""
    source: str = ""
    metrics: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    captions: bool = False  # whether it takes images with captions instead of classes
    subset: str = "a class-balanced subset"  # what `draw` gives of a limit
    texts_first: bool = True  # whether adversarial texts are there before the images are attacked
    shares: bool = True  # whether its metrics are shares, which are told in percent
    examples_of: str = ""  # the task whose adversarial images it looks at, where it makes none of its own

    def draw(self, labels: Ints, limit: int | None, *, seed: int) -> Ints:
        """The images that are tested: all, or `limit` with the classes as equal as they can be, in dataset order."""
        from ..datasets.sampling import balanced_subset

        return balanced_subset(labels, limit, seed=seed)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options of attacks that are run, from those that are given.

        Raises UserError for one that means nothing in this task.
        """
        return dict(given)

    def options_of(self, attack: Attack, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of one attack, from what `options` gives."""
        return dict(given)

    @abstractmethod
    def identity(self, drawn: Drawn) -> dict[str, Any]:
        """What decides the texts, beside the data: a part of every key."""

    @abstractmethod
    def texts(self, drawn: Drawn) -> list[str]:
        """What images are compared with, clean."""

    @abstractmethod
    def owners(self, drawn: Drawn) -> Ints | None:
        """The place of the image that each text belongs to; None for texts of classes."""

    @abstractmethod
    def own(self, drawn: Drawn) -> Ints:
        """The number of the text that stands for each image where an attack takes one."""

    @abstractmethod
    def require(self, victim: Victim, drawn: Drawn) -> None:
        """Raises UserError for what this victim cannot be tested on."""

    def logits(self, victim: Victim, texts: Sequence[str]) -> Logits:
        """What the victim says of images against these texts, which are embedded once.

        Raises UserError in a task that gives images no label.
        """
        raise UserError(f"{self.name} gives images no label to attack", hint=f"--task {self.name} --attack image")

    @abstractmethod
    def goal(
        self, victim: Victim, images: Tensor, labels: Tensor, *, clean: Callable[[], Logits], settings: Any
    ) -> Goal:
        """What an attack on images alone ascends; `clean` gives the logits against clean texts."""

    @abstractmethod
    def judge(self, victim: Victim, images: Tensor, own: Ints, *, answer: Callable[[], Logits]) -> Columns:
        """What came out for each sample, to be stored; `answer` gives the logits against the texts of the attack."""

    @abstractmethod
    def compare(self, before: Columns, after: Columns) -> Columns:
        """What became of each sample, from what came out for clean examples and under the attack."""

    def arrays(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], *, column: Column, before: Column | None
    ) -> Columns:
        """What is known only of all samples together: arrays of any number of rows, stored beside the columns. `before`
        gives what is stored of the clean examples; None for these themselves."""
        return {}

    @abstractmethod
    def notes(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], adv_texts: Sequence[str] | None
    ) -> dict[str, Any]:
        """What is to be known of texts, and of adversarial ones (None where they stay clean)."""

    @abstractmethod
    def measure(self, column: Column, notes: Mapping[str, Any], *, attacked: bool) -> list[Metric]:
        """The metrics and details of a finished example set; `attacked` says whether anything in it was."""

    def first_wins(self, column: Column) -> Column:
        """The columns as if the first of what ties had won it, where a task lets ties count their share."""
        return column

    def credits(self, metric: str, column: Column) -> npt.NDArray[np.float64] | None:
        """What each sample counts in a metric, where the metric is the mean of that."""
        return None

    def counted(self, metric: str) -> str:
        """What the n of a metric counts."""
        return "images"

    def words(self, info: DatasetInfo, column: Column, row: int) -> tuple[str, str, str]:
        """What a sample is, and what the victim took it for before and under the attack; empty where none can say."""
        return "", "", ""

    def sure(self, column: Column, row: int) -> tuple[float, float] | None:
        """The probability of what the victim took a sample for, before and under the attack; None where it gives none,
        or none was stored."""
        return None

    def turned(self, column: Column) -> npt.NDArray[np.bool_]:
        """Which samples the attack turned."""
        none: npt.NDArray[np.bool_] = column("label") != column("label")
        return none


TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known under its name."""
    TASKS[task.name] = task
    return task


def lookup(name: str) -> Task:
    """The task of this name. Raises UserError that names the closest ones."""
    return catalog.lookup(TASKS, name, "task")


def stored(column: Column, *names: str) -> list[npt.NDArray[Any]] | None:
    """These columns; None where a set lacks one, as those do that were made before it was stored."""
    try:
        return [column(name) for name in names]
    except UserError:
        return None


def share(name: str, count: float, n: float) -> Metric:
    """`count` of `n`, with its 95% interval. Raises ZeroDivisionError for n = 0."""
    return Metric(name, count / n, round(n), *wilson(count, n))
