"""An index in an SQLite file, read through the standard library: importing SQLAlchemy takes longer than most commands.

A file may come from elsewhere, so only plain tables are read, whatever calls itself an index: a view that selects from
itself never ends; a trigger changes what was written; a column can be computed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .schema import TABLES

BUSY_SECONDS = 30
LONGEST = 2**26  # bytes of a value that SQLite may hand out
NEWEST = "0006"  # known here, because Alembic takes longer to import than most commands to run
VERSION_TABLE = "mmcoa_version"
OURS = {*TABLES.values(), "evaluations", VERSION_TABLE}  # `evaluations`: until its migration
EVERYTHING = "SELECT type, name, sql FROM sqlite_master"
AT_ONCE = 1000  # rows
_BEGINNING = "sqlite:///"
_SIMPLE_INDEX = re.compile(r'\s*CREATE INDEX "?\w+"? ON "?\w+"? \("?\w+"?(, "?\w+"?)*\)\s*', re.IGNORECASE)
_COMPUTES = re.compile(r"\b(CHECK|GENERATED|AS|VIRTUAL)\b", re.IGNORECASE)
Rows = Sequence[Sequence[Any]]


def file_of(url: str) -> Path | None:
    """The file that a plain URL names, if it is there."""
    path = Path(unquote(url.removeprefix(_BEGINNING)))
    with suppress(OSError):  # of a folder that cannot be looked into: whoever opens the file says so
        return path if url.startswith(_BEGINNING) and "?" not in url and path.is_file() else None
    return None


def is_newest(file: Path) -> bool:
    """Whether it is an index of the newest version. Raises ValueError for one from elsewhere."""
    with closing(sqlite3.connect(file)) as connection:
        configure(connection)
        every = connection.execute(EVERYTHING).fetchall()
        refuse_foreign(every)
        if VERSION_TABLE not in {name for _, name, _ in every}:
            return False
        return connection.execute(f"SELECT version_num FROM {VERSION_TABLE} LIMIT 2").fetchall() == [(NEWEST,)]


def pages(file: Path, query: str, values: Mapping[str, Any]) -> Iterator[Rows]:
    """What a query finds, some rows at a time."""
    with closing(sqlite3.connect(file)) as connection:
        configure(connection)
        found = connection.execute(query, values)
        while rows := found.fetchmany(AT_ONCE):
            yield rows


def configure(connection: sqlite3.Connection) -> None:
    """Of any connection to such a file. Transactions begin where somebody says so, not in the driver."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)


def refuse_foreign(every: Iterable[Sequence[Any]]) -> None:
    """Raises ValueError, which names what it is, for an index with views, triggers, or columns that are computed;
    `every` is what `EVERYTHING` finds."""
    found = [(str(kind), str(name), str(sql or "")) for kind, name, sql in every]
    for kind, name, sql in found if OURS.intersection(name for _, name, _ in found) else ():  # else of something else
        if not _plain(kind, name, sql):
            raise ValueError(f"it has a {kind} {name[:40]!r}, which is no part of an index")


def _plain(kind: str, name: str, sql: str) -> bool:
    if kind == "index":
        return not sql or bool(_SIMPLE_INDEX.fullmatch(sql))
    if kind != "table":
        return False
    return name.startswith("sqlite_") or (name in OURS and not _COMPUTES.search(sql))
