"""What benches measured: a row for each that was timed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "measures",
        sa.Column("bench", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part", sa.String(40), nullable=False),
        sa.Column("work", sa.String(300), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("unit", sa.String(40), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("shortest", sa.Float, nullable=False),
        sa.Column("longest", sa.Float, nullable=False),
        sa.Column("cpu", sa.Float, nullable=False),
        sa.Column("wall", sa.Float, nullable=False),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("of_ours", sa.Float),
        sa.Column("of_floor", sa.Float),
        sa.Column("flops", sa.Float),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
