"""The tables of the index: one frozen record for a row of each, whose fields are the columns, in their order.

What only reads imports no SQLAlchemy, which takes longer to import than most commands to run; `databases.py` is for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple


class Kind(NamedTuple):
    """What a column holds: a text of so many characters at most, a JSON object as text, a whole number of 32 or of 64
    bits, or a real one."""

    holds: Literal["text", "document", "number", "large", "real"]
    longest: int = 0


Text20 = Annotated[str, Kind("text", 20)]
Text40 = Annotated[str, Kind("text", 40)]
Text64 = Annotated[str, Kind("text", 64)]
Text100 = Annotated[str, Kind("text", 100)]
Text200 = Annotated[str, Kind("text", 200)]
Text300 = Annotated[str, Kind("text", 300)]
Written = Annotated[str, Kind("document")]
Number = Annotated[int, Kind("number")]
Large = Annotated[int, Kind("large")]
Real = Annotated[float, Kind("real")]
Document = Annotated[Mapping[str, Any], Kind("document")]
DOCUMENTS = ("threat", "setting")  # the fields of that type


@dataclass(frozen=True)
class Run:
    """A training run, or a model as it comes (kind `zero-shot`). Times are UTC in ISO 8601; `spec` is JSON."""

    id: Text200
    kind: Text20
    method: Text100
    model: Text200
    model_origin: Text20  # "published", "own" or "stand-in"
    weights: Text64 | None  # the digest of the weights as they are now, None before there are any
    source: Text200  # the dataset it was trained on, "" for none
    shots: Text20  # "0", a number, or "full"
    seed: Large
    compat: Text20
    status: Text20  # "running" or "complete"
    spec: Written
    created_at: Text40
    finished_at: Text40 | None


@dataclass(frozen=True)
class Result:
    """One metric of one evaluation: of one run on one dataset under one attack. All metrics of it share `evaluation`.

    `value`, `low` and `high` are fractions in [0, 1]; `low` and `high` are None where there is no interval. Results may
    share the documents `threat` and `setting`: nobody changes them.
    """

    evaluation: Text64
    metric: Text40
    run_id: Text200
    dataset: Text200
    task: Text40
    attack: Text40
    value: Real
    low: Real | None
    high: Real | None
    n: Number  # what `value` is a share of; 0 where that was not recorded
    threat: Document  # the settings of each part of the attack, by its name
    setting: Document  # what it was measured on, and how
    examples: Text64  # the key of the example set
    weights: Text64 | None  # the digest of the weights that were tested
    seed: Large
    seconds: Real
    device: Text40
    version: Text40  # of the program that measured it; empty where that was not recorded
    created_at: Text40


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training run, the first is 1: its mean loss, and what it took."""

    run_id: Text200
    epoch: Number
    loss: Real
    images: Number
    seconds: Real  # of its steps, without storing the weights
    peak_memory: Large | None  # bytes, of the process or device that took most; None where nobody counts them
    device: Text200  # the name of the hardware
    processes: Number
    precision: Text20
    version: Text40
    created_at: Text40
    waited: Real | None = None  # seconds of them in which images were waited for; None where that was not recorded


@dataclass(frozen=True)
class Measure:
    """What one of those that were timed took for a unit of some work: a row of a bench, which is a name for all that
    was measured together. Seconds are medians over the rounds; ratios are to others in the same round, None without."""

    bench: Text64
    number: Number  # of the row in its bench, the first is 0
    part: Text40
    work: Text300
    who: Text100
    unit: Text40
    seconds: Real
    shortest: Real
    longest: Real
    cpu: Real
    wall: Real
    rounds: Number
    of_ours: Real | None
    of_floor: Real | None
    flops: Real | None  # of a unit
    setting: Document  # of the whole bench
    device: Text200
    version: Text40
    created_at: Text40


class Link(NamedTuple):
    """An evaluation, and what it is of; `examples` is the key of its example set."""

    evaluation: str
    run_id: str
    dataset: str
    task: str
    attack: str
    examples: str
    weights: str | None
    created_at: str


class Value(NamedTuple):
    """One metric of an evaluation without what it shares with the others of that; the fields are those of a result."""

    evaluation: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


Record = Run | Result | Epoch | Measure
TABLES: dict[type[Any], str] = {Run: "runs", Result: "results", Epoch: "epochs", Measure: "measures"}
KEYS: dict[type[Any], tuple[str, ...]] = {
    Run: ("id",), Result: ("evaluation", "metric"), Epoch: ("run_id", "epoch"), Measure: ("bench", "number"),
}  # fmt: skip


class Column(NamedTuple):
    """A column of a table; `nullable` where it may be None."""

    name: str
    kind: Kind
    nullable: bool


def _column(name: str, annotation: str) -> Column:
    kind, _, none = annotation.partition(" | ")
    return Column(name, globals()[kind].__metadata__[0], bool(none))


COLUMNS = {  # of each record's table, in their order
    record: tuple(_column(name, annotation) for name, annotation in record.__annotations__.items()) for record in TABLES
}
