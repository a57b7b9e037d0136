"""The two tables of the index: runs and evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("method", sa.String(100), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("model_stand_in", sa.Boolean, nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("shots", sa.String(20), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("compat", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("finished_at", sa.String(40)),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(200), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("dataset", sa.String(200), nullable=False, index=True),
        sa.Column("split", sa.String(20), nullable=False),
        sa.Column("attack", sa.String(40), nullable=False),
        sa.Column("metric", sa.String(40), nullable=False),
        sa.Column("compat", sa.String(20), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("correct", sa.Integer, nullable=False),
        sa.Column("attack_success_rate", sa.Float),
        sa.Column("collisions", sa.Integer),
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
        sa.Column("mlm_stand_in", sa.Boolean, nullable=False),
        sa.Column("prompts", sa.Text),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("device", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
