"""The tables of the index, and one frozen record for a row of each."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

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

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("run_id", String(200), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("weights", String(64)),
    Column("dataset", String(200), nullable=False, index=True),
    Column("split", String(20), nullable=False),
    Column("attack", String(40), nullable=False),
    Column("metric", String(40), nullable=False),
    Column("compat", String(20), nullable=False),
    Column("value", Float, nullable=False),
    Column("n", Integer, nullable=False),
    Column("correct", Float, nullable=False),
    Column("attack_success_rate", Float),
    Column("collisions", Integer),
    Column("distinct_prompts", Integer),
    Column("seed", BigInteger, nullable=False),
    Column("limit", Integer),
    Column("partial", Boolean, nullable=False),
    Column("norm", String(20)),
    Column("eps", String(40)),
    Column("alpha", String(40)),
    Column("steps", Integer),
    Column("precision", String(20), nullable=False),
    Column("no_collisions", Boolean, nullable=False),
    Column("stop_when_fooled", Boolean, nullable=False),
    Column("examples", String(64), nullable=False),
    Column("mlm", String(200)),
    Column("mlm_origin", String(20)),
    Column("prompts", Text),
    Column("spec", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("device", String(40), nullable=False),
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
class Evaluation:
    """One run on one dataset under one attack. `value` and `attack_success_rate` are fractions in [0, 1]; `examples`
    is the key of the example set; `prompts` is JSON, a list of [clean, adversarial]."""

    id: str
    run_id: str
    weights: str | None  # the digest of the weights that were tested
    dataset: str
    split: str
    attack: str
    metric: str
    compat: str
    value: float
    n: int
    correct: float
    attack_success_rate: float | None
    collisions: int | None
    distinct_prompts: int | None
    seed: int
    limit: int | None
    partial: bool
    norm: str | None
    eps: str | None
    alpha: str | None
    steps: int | None
    precision: str
    no_collisions: bool
    stop_when_fooled: bool
    examples: str
    mlm: str | None
    mlm_origin: str | None
    prompts: str | None
    spec: str
    seconds: float
    batch_size: int
    device: str
    created_at: str
