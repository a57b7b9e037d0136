"""How Alembic runs the migrations: on the connection it is handed, each in one transaction with its own record."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
