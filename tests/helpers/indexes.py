"""What the tests of the index and the processes that they start share: a row of each kind, and a way past the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, create_engine

from store.schema import Epoch, Measure, Result, Run

RUN = Run(
    id="mmcoa-abc123",
    kind="train",
    method="mmcoa",
    model="ViT-B-32",
    model_origin="published",
    weights=None,
    source="cifar10",
    shots="5",
    seed=2**40,
    compat="none",
    status="running",
    spec='{"epochs": 10}',
    created_at="2026-11-24T01:00:00+00:00",
    finished_at=None,
)
RESULT = Result(
    evaluation="e" * 40,
    metric="robust_accuracy",
    run_id=RUN.id,
    dataset="cifar10",
    task="classification",
    attack="multimodal",
    value=0.1 + 0.2,
    low=0.27,
    high=0.33,
    n=1000,
    threat={"image": {"eps": "1/255", "steps": 100}, "text": {"mlm_name": "a Kätzchen 猫"}},
    setting={"limit": None, "partial": True},
    examples="f" * 40,
    weights="w" * 40,
    seed=0,
    seconds=1.25,
    device="cpu",
    version="0.1.0",
    created_at="2026-11-24T02:00:00+00:00",
)
EPOCH = Epoch(
    run_id=RUN.id,
    epoch=1,
    loss=-0.5,
    images=500,
    seconds=60.125,
    peak_memory=2**40,
    device="Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads",
    processes=1,
    precision="fp32",
    version="0.1.0",
    created_at="2026-11-24T01:30:00+00:00",
)
MEASURE = Measure(
    bench="bench-20261126-120000-abcd",
    number=0,
    part="image",
    work="a step of PGD, 4 images of 224 pixels, 10 classes",
    who="mmcoa",
    unit="image",
    seconds=0.3,
    shortest=0.25,
    longest=0.5,
    cpu=0.3,
    wall=0.4,
    rounds=5,
    of_ours=1.0,
    of_floor=None,
    flops=1.7e10,
    setting={"model": "ViT-B-32", "load": [1.5, None]},
    device="Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads",
    version="0.1.0",
    created_at="2026-11-26T12:00:00+00:00",
)
DETAIL = replace(RESULT, metric="collisions", value=0.5, low=None, high=None, n=10)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection past the index, in a transaction."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()
