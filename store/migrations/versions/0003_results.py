"""One row a metric: `evaluations` becomes `results`.

The settings of an attack, which were columns, are a document, and so is what was measured on. The prompts stay in the
example set alone; here stay their number and the key of the data.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import NormalDist
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.keys import key_of

revision = "0003"
down_revision = "0002"

ROUNDING = 1e-6
AT_ONCE = 200  # rows, each of which may be a hundred kilobytes long
IMAGE, TEXT = ("norm", "eps", "alpha", "steps", "stop_when_fooled"), ("no_collisions",)
COPIED = ("run_id", "dataset", "attack", "examples", "weights", "seed", "seconds", "device", "created_at")
MEASURED = ("split", "limit", "partial", "precision", "compat", "batch_size")
Row = dict[str, Any]


def upgrade() -> None:
    """Make the new table of the rows of the old one."""
    new = _new_table()
    names = ("id", "metric", "value", "n", "correct", "attack_success_rate", "collisions", "distinct_prompts")
    others = ("mlm", "mlm_origin", "prompts", "spec")
    flags = [sa.column(name, sa.Boolean) for name in ("partial", "no_collisions", "stop_when_fooled")]
    plain: list[sa.ColumnClause[Any]] = [
        sa.column(name) for name in {*names, *others, *COPIED, *MEASURED, *IMAGE, *TEXT}
    ]
    columns = {column.name: column for column in (*plain, *flags)}
    old = sa.table("evaluations", *columns.values())
    right = _right_without_attack(old)
    for rows in _pages(old, sa.true()):
        made: list[Row] = []
        for row in rows:
            with _named(row):
                made += _results(row, right)
        op.bulk_insert(new, made)
    op.drop_table("evaluations")
    op.create_index("ix_results_run_id_dataset", "results", ["run_id", "dataset"])


def _pages(old: sa.TableClause, condition: sa.ColumnElement[bool]) -> Iterator[list[Row]]:
    query = sa.select(old).where(condition).order_by(old.c.id).limit(AT_ONCE)
    rows = [dict(row) for row in op.get_bind().execute(query).mappings()]
    while rows:
        yield rows
        rest = query.where(old.c.id > rows[-1]["id"])
        rows = [dict(row) for row in op.get_bind().execute(rest).mappings()]


def _right_without_attack(old: sa.TableClause) -> dict[str, float]:
    """How many a run classifies correctly before any attack, by what the success of an attack is a share of."""
    found = {}
    for rows in _pages(old, old.c.norm.is_(None) & old.c.mlm.is_(None)):
        for row in rows:
            with _named(row):
                key = _key_without_attack(row["run_id"], _section(_document(row, "spec", dict), "examples"))
                if key:
                    found[key] = row["correct"]
    return found


def _key_without_attack(run_id: str, examples: Row) -> str:
    """The same for all attacks on the same images by the same weights; empty where that is not known."""
    rest = {name: value for name, value in examples.items() if name not in ("attack", "image", "text")}
    return key_of([run_id, rest]) if {"weights", "data"} <= rest.keys() else ""


@contextmanager
def _named(row: Row) -> Iterator[None]:
    """Raises ValueError, which says which row it is, for one that no index holds."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"evaluations {row['id']!r:.80}: {error}") from error


def _results(row: Row, right: dict[str, float]) -> Iterator[Row]:
    """The accuracy, and what was noted beside it. How many the success of an attack is a share of was not recorded, but
    is found where the same was tested without one."""
    spec = _document(row, "spec", dict)
    examples = _section(spec, "examples")
    alike = {
        **{name: row[name] for name in COPIED},
        "evaluation": row["id"],
        "task": "classification",
        "threat": json.dumps(_threat(row, examples)),
        "setting": json.dumps(_setting(row, spec, examples)),
        "version": "",
    }

    def result(metric: str, value: float, n: float, interval: tuple[float | None, float | None]) -> Row:
        low, high = interval
        return {**alike, "metric": metric, "value": value, "n": round(n), "low": low, "high": high}

    if abs(row["value"] - row["correct"] / row["n"]) > ROUNDING or row["correct"] > row["n"]:
        raise ValueError("its value is not the share that is correct")
    yield result(row["metric"], row["value"], row["n"], _wilson(row["correct"], row["n"]))
    success = row["attack_success_rate"]
    if success is not None:
        before = right.get(_key_without_attack(row["run_id"], examples), 0)
        interval = _wilson(success * before, before) if before else (None, None)
        yield result("attack_success_rate", success, before, interval)
    prompts = len(_document(row, "prompts", list)) if row["prompts"] else 0
    for name in ("collisions", "distinct_prompts"):
        if row[name] is not None and prompts:
            yield result(name, row[name] / prompts, prompts, (None, None))


def _threat(row: Row, examples: Row) -> Row:
    image, text = _section(examples, "image"), _section(examples, "text")
    found = {}
    if image or row["norm"] is not None:
        found["image"] = {**image, **{name: row[name] for name in IMAGE}}
    if text or row["mlm"] is not None:
        named = {"mlm_name": row["mlm"], "mlm_origin": row["mlm_origin"]}
        found["text"] = {**text, **named, **{name: row[name] for name in TEXT}}
    return found


def _setting(row: Row, spec: Row, examples: Row) -> Row:
    data = _section(examples, "data")
    prompts = examples.get("prompts")
    images = data.get("checksum")
    return {
        **{name: row[name] for name in MEASURED},
        "part": str(spec.get("part") or ""),
        "pixel_size": data.get("pixel_size"),
        "data": key_of([str(images), prompts if isinstance(prompts, list) else []])[:8] if images else "",
        "digests": examples.get("digests", 1),
    }


def _document(row: Row, name: str, outermost: type) -> Any:
    try:
        found = json.loads(row[name])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {name} is no JSON") from error
    if not isinstance(found, outermost):
        raise ValueError(f"its {name} is not the JSON it should be")
    return found


def _section(document: Row, name: str) -> Row:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _wilson(correct: float, n: float) -> tuple[float, float]:
    """The 95% score interval of `correct` out of `n` (Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.975)
    share, weight = correct / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _new_table() -> sa.Table:
    return op.create_table(
        "results",
        sa.Column("evaluation", sa.String(64), primary_key=True),
        sa.Column("metric", sa.String(40), primary_key=True),
        sa.Column("run_id", sa.String(200), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("task", sa.String(40), nullable=False),
        sa.Column("attack", sa.String(40), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("low", sa.Float),
        sa.Column("high", sa.Float),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("threat", sa.Text, nullable=False),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("examples", sa.String(64), nullable=False),
        sa.Column("weights", sa.String(64)),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("device", sa.String(40), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
