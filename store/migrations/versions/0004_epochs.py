"""A row an epoch of each training run: its loss, and what it took."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table. Of runs that are there already nothing is known."""
    op.create_table(
        "epochs",
        sa.Column("run_id", sa.String(200), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("loss", sa.Float, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("peak_memory", sa.BigInteger),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("processes", sa.Integer, nullable=False),
        sa.Column("precision", sa.String(20), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
