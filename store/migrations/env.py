"""How Alembic runs the migrations: on the connection it is handed, each in the transaction that records it."""

from alembic import context

context.configure(**context.config.attributes)
context.run_migrations()
