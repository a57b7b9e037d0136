"""Numbered migrations of the index, for Alembic. They are only ever added to."""
