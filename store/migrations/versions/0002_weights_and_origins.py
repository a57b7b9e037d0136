"""What tells results apart: the weights they were made with, where a model is from, and how many prompts are distinct.

Both tables are made anew and filled from the old ones: SQLite cannot change a column, and dropping `runs` while its
evaluations refer to it would take them along.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

RUNS = (
    "id", "kind", "method", "model", "source", "shots", "seed", "compat", "status", "spec", "created_at", "finished_at",
)  # fmt: skip
EVALUATIONS = (
    "id", "run_id", "dataset", "split", "attack", "metric", "compat", "value", "n", "correct", "attack_success_rate",
    "collisions", "seed", "limit", "partial", "norm", "eps", "alpha", "steps", "precision", "no_collisions",
    "stop_when_fooled", "examples", "mlm", "prompts", "spec", "seconds", "batch_size", "device", "created_at",
)  # fmt: skip


def upgrade() -> None:
    """Make both tables anew, of the rows of the old ones."""
    for column in ("run_id", "dataset"):
        op.drop_index(f"ix_evaluations_{column}", "evaluations")
    runs, evaluations = _new_runs(), _new_evaluations()
    old_runs, old = _old("runs", *RUNS, "model_stand_in"), _old("evaluations", *EVALUATIONS, "mlm_stand_in")
    _copy(old_runs, runs, RUNS, model_origin=_origin(old_runs.c.model_stand_in))
    mlm_origin = sa.case((old.c.mlm.is_(None), None), else_=_origin(old.c.mlm_stand_in))
    _copy(old, evaluations, EVALUATIONS, mlm_origin=mlm_origin)
    _fill_weights(evaluations)
    for name in ("evaluations", "runs"):
        op.drop_table(name)
    for name in ("runs", "evaluations"):
        op.rename_table(f"{name}_0002", name)
    for column in ("run_id", "dataset"):
        op.create_index(f"ix_evaluations_{column}", "evaluations", [column])


def _old(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns))


def _origin(stand_in: sa.ColumnElement[bool]) -> sa.ColumnElement[str]:
    return sa.case((stand_in.is_(sa.true()), "stand-in"), else_="published")


def _copy(old: sa.TableClause, new: sa.Table, columns: tuple[str, ...], **changed: sa.ColumnElement[str]) -> None:
    values = sa.select(*(old.c[column] for column in columns), *changed.values())
    op.execute(sa.insert(new).from_select([*columns, *changed], values))


def _fill_weights(evaluations: sa.Table) -> None:
    """The digest of the weights stood in the specification only."""
    connection = op.get_bind()
    for key, text in connection.execute(sa.select(evaluations.c.id, evaluations.c.spec)).all():
        try:
            weights = json.loads(text)["examples"]["weights"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(weights, str) and len(weights) <= 64:
            connection.execute(sa.update(evaluations).where(evaluations.c.id == key).values(weights=weights))


def _new_runs() -> sa.Table:
    return op.create_table(
        "runs_0002",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("method", sa.String(100), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("model_origin", sa.String(20), nullable=False),
        sa.Column("weights", sa.String(64)),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("shots", sa.String(20), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("compat", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("finished_at", sa.String(40)),
    )


def _new_evaluations() -> sa.Table:
    return op.create_table(
        "evaluations_0002",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(200), sa.ForeignKey("runs_0002.id", ondelete="CASCADE"), nullable=False),
        sa.Column("weights", sa.String(64)),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("split", sa.String(20), nullable=False),
        sa.Column("attack", sa.String(40), nullable=False),
        sa.Column("metric", sa.String(40), nullable=False),
        sa.Column("compat", sa.String(20), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("correct", sa.Float, nullable=False),
        sa.Column("attack_success_rate", sa.Float),
        sa.Column("collisions", sa.Integer),
        sa.Column("distinct_prompts", sa.Integer),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("limit", sa.Integer),
        sa.Column("partial", sa.Boolean, nullable=False),
        sa.Column("norm", sa.String(20)),
        sa.Column("eps", sa.String(40)),
        sa.Column("alpha", sa.String(40)),
        sa.Column("steps", sa.Integer),
        sa.Column("precision", sa.String(20), nullable=False),
        sa.Column("no_collisions", sa.Boolean, nullable=False),
        sa.Column("stop_when_fooled", sa.Boolean, nullable=False),
        sa.Column("examples", sa.String(64), nullable=False),
        sa.Column("mlm", sa.String(200)),
        sa.Column("mlm_origin", sa.String(20)),
        sa.Column("prompts", sa.Text),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("device", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
