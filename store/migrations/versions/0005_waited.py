"""How long an epoch waited for its images."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column. Of epochs that are there already nothing is known."""
    op.add_column("epochs", sa.Column("waited", sa.Float))
