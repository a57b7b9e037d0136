"""The tables of the index, and one frozen record for a row of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("method", String(100), nullable=False),
    Column("model", String(200), nullable=False),
    Column("model_origin", String(20), nullable=False),
    Column("weights", String(64)),
    Column("source", String(200), nullable=False),
    Column("shots", String(20), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("compat", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("spec", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("finished_at", String(40)),
)

results = Table(
    "results",
    metadata,
    Column("evaluation", String(64), primary_key=True),
    Column("metric", String(40), primary_key=True),
    Column("run_id", String(200), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("dataset", String(200), nullable=False),
    Column("task", String(40), nullable=False),
    Column("attack", String(40), nullable=False),
    Column("value", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("n", Integer, nullable=False),
    Column("threat", Text, nullable=False),
    Column("setting", Text, nullable=False),
    Column("examples", String(64), nullable=False),
    Column("weights", String(64)),
    Column("seed", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("device", String(40), nullable=False),
    Column("version", String(40), nullable=False),
    Column("created_at", String(40), nullable=False),
    Index("ix_results_run_id_dataset", "run_id", "dataset"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("run_id", String(200), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("loss", Float, nullable=False),
    Column("images", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("peak_memory", BigInteger),
    Column("device", String(200), nullable=False),
    Column("processes", Integer, nullable=False),
    Column("precision", String(20), nullable=False),
    Column("version", String(40), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("waited", Float),
)

measures = Table(
    "measures",
    metadata,
    Column("bench", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("part", String(40), nullable=False),
    Column("work", String(300), nullable=False),
    Column("who", String(100), nullable=False),
    Column("unit", String(40), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("shortest", Float, nullable=False),
    Column("longest", Float, nullable=False),
    Column("cpu", Float, nullable=False),
    Column("wall", Float, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("of_ours", Float),
    Column("of_floor", Float),
    Column("flops", Float),
    Column("setting", Text, nullable=False),
    Column("device", String(200), nullable=False),
    Column("version", String(40), nullable=False),
    Column("created_at", String(40), nullable=False),
)


@dataclass(frozen=True)
class Run:
    """A training run, or a model as it comes (kind `zero-shot`). Times are UTC in ISO 8601; `spec` is JSON."""

    id: str
    kind: str
    method: str
    model: str
    model_origin: str  # "published", "own" or "stand-in"
    weights: str | None  # the digest of the weights as they are now, None before there are any
    source: str  # the dataset it was trained on, "" for none
    shots: str  # "0", a number, or "full"
    seed: int
    compat: str
    status: str  # "running" or "complete"
    spec: str
    created_at: str
    finished_at: str | None


@dataclass(frozen=True)
class Result:
    """One metric of one evaluation: of one run on one dataset under one attack. All metrics of it share `evaluation`.

    `value`, `low` and `high` are fractions in [0, 1]; `low` and `high` are None where there is no interval. Results may
    share the documents `threat` and `setting`: nobody changes them.
    """

    evaluation: str
    metric: str
    run_id: str
    dataset: str
    task: str
    attack: str
    value: float
    low: float | None
    high: float | None
    n: int  # what `value` is a share of; 0 where that was not recorded
    threat: Mapping[str, Any]  # the settings of each part of the attack, by its name
    setting: Mapping[str, Any]  # what it was measured on, and how
    examples: str  # the key of the example set
    weights: str | None  # the digest of the weights that were tested
    seed: int
    seconds: float
    device: str
    version: str  # of the program that measured it; empty where that was not recorded
    created_at: str


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training run, the first is 1: its mean loss, and what it took."""

    run_id: str
    epoch: int
    loss: float
    images: int
    seconds: float  # of its steps, without storing the weights
    peak_memory: int | None  # bytes, of the process or device that took most; None where nobody counts them
    device: str  # the name of the hardware
    processes: int
    precision: str
    version: str
    created_at: str
    waited: float | None = None  # seconds of them in which images were waited for; None where that was not recorded


@dataclass(frozen=True)
class Measure:
    """What one of those that were timed took for a unit of some work: a row of a bench, which is a name for all that
    was measured together. Seconds are medians over the rounds; ratios are to others in the same round, None without."""

    bench: str
    number: int  # of the row in its bench, the first is 0
    part: str
    work: str
    who: str
    unit: str
    seconds: float
    shortest: float
    longest: float
    cpu: float
    wall: float
    rounds: int
    of_ours: float | None
    of_floor: float | None
    flops: float | None  # of a unit
    setting: Mapping[str, Any]  # of the whole bench
    device: str
    version: str
    created_at: str


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
