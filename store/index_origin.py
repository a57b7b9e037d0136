"""A database from elsewhere: only plain tables are read, whatever calls itself an index.

A view that selects from itself never ends; a trigger changes what was written; a column can be computed.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

from .schema import metadata

VERSION_TABLE = "mmcoa_version"
_TABLES = {*metadata.tables, "evaluations", VERSION_TABLE}  # `evaluations`: until its migration
_SIMPLE_INDEX = re.compile(r'\s*CREATE INDEX "?\w+"? ON "?\w+"? \("?\w+"?(, "?\w+"?)*\)\s*', re.IGNORECASE)
_COMPUTES = re.compile(r"\b(CHECK|GENERATED|AS|VIRTUAL)\b", re.IGNORECASE)
_POSTGRESQL = f"""
SELECT c.relname, 'is no plain table' FROM pg_class c
WHERE c.relname IN ({", ".join(f"'{name}'" for name in sorted(_TABLES))}) AND pg_table_is_visible(c.oid)
AND (c.relkind <> 'r' OR c.relhasrules OR c.relrowsecurity
     OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
"""


def refuse_foreign_tables(connection: Connection) -> None:
    """Raises ValueError, which names what it is, for an index with views, triggers, or columns that are computed."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(text(_POSTGRESQL)).first()
        if found is not None:
            raise ValueError(f"its {found[0]} {found[1]}")
    if connection.dialect.name == "sqlite":
        every = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
        ours = _TABLES.intersection(str(name) for _, name, _ in every)
        for kind, name, sql in every if ours else ():  # else it is empty, or of something else
            if not _plain(str(kind), str(name), str(sql or "")):
                raise ValueError(f"it has a {kind} {str(name)[:40]!r}, which is no part of an index")


def _plain(kind: str, name: str, sql: str) -> bool:
    if kind == "index":
        return not sql or bool(_SIMPLE_INDEX.fullmatch(sql))
    if kind != "table":
        return False
    return name.startswith("sqlite_") or (name in _TABLES and not _COMPUTES.search(sql))
