"""What a task is: the data it takes, what it asks of a victim, what it stores of each sample, and its metrics.

Importing this module loads nothing heavy: metrics are computed from stored columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import catalog
from .intervals import wilson

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from store.dataset_info import DatasetInfo

    from ..models.victim import Victim

    Columns = Mapping[str, npt.NDArray[Any]]  # one row a sample
    Column = Callable[[str], npt.NDArray[Any]]  # a column by its name

Logits = Callable[["Tensor"], "Tensor"]  # pixels (B, 3, S, S) -> logits (B, K)


@dataclass(frozen=True)
class Metric:
    """A share of `n`, with the ends of its 95% interval where it has one."""

    name: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Task(ABC):
    """One task. `metrics` are what its tables show, `details` what stands beside them."""

    name: str
    title: str = ""
    source: str = ""
    metrics: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    captions: bool = False  # whether it takes images with captions instead of classes

    @abstractmethod
    def texts(self, info: DatasetInfo) -> list[str]:
        """What images are compared with, clean."""

    @abstractmethod
    def draw(self, labels: npt.NDArray[np.int64], limit: int | None, *, seed: int) -> npt.NDArray[np.int64]:
        """The images that are tested: all, or `limit` of them, in dataset order."""

    @abstractmethod
    def require(self, victim: Victim, info: DatasetInfo) -> None:
        """Raises UserError for what this victim cannot be tested on."""

    @abstractmethod
    def logits(self, victim: Victim, texts: Sequence[str]) -> Logits:
        """What the victim says of images against these texts, which are embedded once."""

    @abstractmethod
    def judge(self, logits: Tensor, labels: npt.NDArray[np.int64]) -> Columns:
        """What came out for each sample, to be stored."""

    @abstractmethod
    def compare(self, before: Columns, after: Columns) -> Columns:
        """What became of each sample, from what came out for clean examples and under the attack."""

    @abstractmethod
    def notes(self, victim: Victim, info: DatasetInfo, adv_texts: Sequence[str]) -> dict[str, Any]:
        """What is to be known of adversarial texts."""

    @abstractmethod
    def measure(self, column: Column, notes: Mapping[str, Any], *, attacked: bool) -> list[Metric]:
        """The metrics and details of a finished example set; `attacked` says whether anything in it was."""

    def words(self, info: DatasetInfo, column: Column, row: int) -> tuple[str, str, str]:
        """What a sample is, and what the victim took it for before and under the attack; empty where none can say."""
        return "", "", ""

    def turned(self, column: Column) -> npt.NDArray[np.bool_]:
        """Which samples the attack turned."""
        return column("label") < 0  # none


TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known under its name."""
    TASKS[task.name] = task
    return task


def lookup(name: str) -> Task:
    """The task of this name. Raises UserError that names the closest ones."""
    return catalog.lookup(TASKS, name, "task")


def share(name: str, count: float, n: float) -> Metric:
    """`count` of `n`, with its 95% interval. Raises ZeroDivisionError for n = 0."""
    return Metric(name, count / n, round(n), *wilson(count, n))
