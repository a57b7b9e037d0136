"""An index from elsewhere: no view, no trigger, no row that cannot be; the same values taken and refused by every
database; many writers, and not a row lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from indexes import DETAIL, EPOCH, MEASURE, RESULT, RUN, connected
from sqlalchemy import Table, text

from store.benches import Benches
from store.databases import OF, metadata
from store.errors import UserError
from store.index import Index
from store.schema import Epoch, Measure, Result, Run
from store.sqlite_file import NEWEST, VERSION_TABLE

Start = Callable[[str], Any]
WRITERS, ROWS = 4, 100
WRITING = """
import sys
sys.path.insert(0, TESTS)
from dataclasses import replace
from store.index import Index
from indexes import RUN
index = Index(URL)
pause()
own = sys.stdin.readline().strip()
for number in range(ROWS):
    index.save_run(replace(RUN, id=f"run-{own}-{number}"))
"""


def execute(url: str, *statements: str, **values: Any) -> None:
    """Past the index, as somebody would who made it up."""
    with connected(url) as connection:
        for statement in statements:
            connection.execute(text(statement), values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An SQLite index with a run and two results."""
    index = Index(f"sqlite:///{tmp_path / 'index.db'}")
    index.save_run(RUN)
    index.save_results([RESULT, DETAIL])
    return tmp_path / "index.db"


RECURSIVE = (
    "DROP TABLE results",
    "CREATE VIEW results AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n",
)
HOSTILE = {
    "a recursive view": RECURSIVE,
    "a view for the version": (f"DROP TABLE {VERSION_TABLE}", f"CREATE VIEW {VERSION_TABLE} AS SELECT '{NEWEST}' AS v"),
    "a view beside": ("CREATE VIEW more AS SELECT 1",),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE results SET value = 1; END",),
    "a table beside": ("CREATE TABLE more (id)",),
    "a virtual table": ("CREATE VIRTUAL TABLE more USING fts5(id)",),
    "a computed column": ("ALTER TABLE runs ADD COLUMN more AS (zeroblob(1000))",),
    "a check": ("DROP TABLE results", "CREATE TABLE results (id CHECK (abs(id) > 0))"),
    "an index that computes": ("CREATE INDEX more ON runs (abs(seed))",),
    "an old table's view": ("CREATE VIEW evaluations AS SELECT 1",),
    "an index of a part": ("CREATE INDEX more ON runs (seed) WHERE seed > 1",),
    "two versions": (f"INSERT INTO {VERSION_TABLE} VALUES ('0001')",),
    "no version": (f"UPDATE {VERSION_TABLE} SET version_num = 'x'",),
    "columns that are missing": ("ALTER TABLE results DROP COLUMN setting",),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_index_holds_is_refused_in_one_line(path: Path, kind: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in HOSTILE[kind]:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(UserError) as error:
        Index(f"sqlite:///{path}").results()
    assert "\n" not in str(error.value)
    assert error.value.hint


LIE = "$$ BEGIN NEW.seed = 1; RETURN NEW; END $$"


@pytest.mark.parametrize(
    "statements",
    [
        (f"CREATE OR REPLACE FUNCTION lie() RETURNS trigger AS {LIE} LANGUAGE plpgsql",
         "CREATE TRIGGER lie BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION lie()"),
        ("ALTER TABLE runs RENAME TO kept", "CREATE VIEW runs AS SELECT * FROM kept"),
    ],
)  # fmt: skip
def test_views_and_triggers_are_refused_on_postgresql(postgresql: str, statements: tuple[str, ...]) -> None:
    Index(postgresql)
    execute(postgresql, *statements)
    try:
        with pytest.raises(UserError, match="its runs is no plain table"):
            Index(postgresql)
    finally:
        execute(postgresql, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


WRONG: dict[str, Any] = {
    "value": 0.5, "low": -1.1, "high": None, "n": -1, "seconds": float("inf"), "setting": "[]", "threat": "{",
    "dataset": "a\x1b[31mb", "version": "1" * 41, "attack": "two\nlines", "task": "\u202egpj",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_row_that_cannot_be_is_refused_on_reading(path: Path, name: str) -> None:
    change = f'UPDATE results SET "{name}" = :value WHERE metric = :metric'
    execute(f"sqlite:///{path}", change, value=WRONG[name], metric=RESULT.metric)
    index = Index(f"sqlite:///{path}")
    for read in (index.results, index.verify):
        with pytest.raises(UserError, match=f"not to be trusted: results '{RESULT.evaluation}': ") as error:
            read()
        assert str(error.value).isprintable()
        assert "move it away" in error.value.hint


@pytest.mark.parametrize("value", ["x'ff'", "'abc'", "x'00'", "9e999", "NULL"])
@pytest.mark.parametrize("name", ["value", "n", "setting", "created_at", "seed"])
def test_a_value_of_another_type_is_refused_on_reading(path: Path, name: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'UPDATE results SET "{name}" = {value}')
        connection.commit()
    with pytest.raises(UserError) as error:
        Index(f"sqlite:///{path}").results()
    assert "\n" not in str(error.value)


TAKEN: list[dict[str, Any]] = [
    {"seed": 2**63 - 1},
    {"seed": -(2**63)},
    {"source": "s" * 200},
    {"shots": "9" * 20},
    {"source": "猫" * 200},
    {"spec": '{"a": "' + "x" * 1_000_000 + '"}'},
    {"spec": '{"a": "\\u0000 \\ud800"}'},
]
REFUSED: list[dict[str, Any]] = [
    {"seed": 2**63},
    {"seed": 10**40},
    {"source": "s" * 201},
    {"source": "a\0b"},
    {"source": "half \ud800"},
    {"source": "\x1b[31m"},
    {"shots": "9" * 21},
    {"spec": "{}\0"},
    {"spec": '{"a": "\ud800"}'},
    {"spec": "[" * 100_000},
    {"spec": "null"},
    {"seed": 1.5},
    {"seed": True},
    {"method": None},
    {"kind": b"train"},
]


@pytest.mark.parametrize("changes", TAKEN)
def test_what_one_database_takes_every_one_takes(url: str, changes: dict[str, Any]) -> None:
    run = replace(RUN, **changes)
    Index(url).save_run(run)
    assert Index(url).run(RUN.id) == run


@pytest.mark.parametrize("changes", REFUSED, ids=range(len(REFUSED)))
def test_what_one_database_refuses_every_one_refuses_in_the_same_words(url: str, changes: dict[str, Any]) -> None:
    (name,) = changes
    index = Index(url)
    with pytest.raises(UserError, match=rf"the index cannot keep runs '{RUN.id}': {name} (is|holds) ") as error:
        index.save_run(replace(RUN, **changes))
    assert str(error.value).isprintable()
    assert index.runs() == []


def test_every_column_is_checked(url: str) -> None:
    """A new column cannot be forgotten: of each there is something that it refuses."""
    index = Index(url)
    index.save_run(RUN)
    rows: tuple[tuple[Table, Any, Callable[[Any], None]], ...] = (
        (OF[Run], RUN, index.save_run),
        (OF[Result], RESULT, lambda row: index.save_results([row])),
        (OF[Epoch], EPOCH, index.save_epoch),
        (OF[Measure], MEASURE, lambda row: Benches(url).save([row])),
    )
    assert {table.name for table, _, _ in rows} == set(metadata.tables)
    for table, row, save in rows:
        for column in table.columns:
            with pytest.raises(UserError, match=f"{column.name} (is|holds) "):
                save(replace(row, **{column.name: object()}))
        assert set(asdict(row)) == set(table.columns.keys())


def test_several_writers_lose_no_row(url: str, other: Start) -> None:
    lines = WRITING.replace("TESTS", repr(str(Path(__file__).parents[1] / "helpers"))).replace("URL", repr(url))
    processes = [other(lines.replace("ROWS", str(ROWS))).paused() for _ in range(WRITERS)]
    for number, process in enumerate(processes):
        process.go()
        process._stdin.write(f"{number}\n")
        process._stdin.flush()
    for process in processes:
        process.finish()
    found = {run.id for run in Index(url).runs()}
    assert found == {f"run-{own}-{number}" for own in range(WRITERS) for number in range(ROWS)}


def test_a_database_that_is_full_is_told_so(tmp_path: Path, other: Start) -> None:
    lines = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
import resource
from dataclasses import replace
from store.errors import UserError
from store.index import Index
from indexes import RUN
index = Index(f"sqlite:///{{folder / 'index.db'}}")
index.save_run(RUN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    for number in range(100):
        index.save_run(replace(RUN, id=f"run{{number}}", spec='{{"a": "' + "x" * 5000 + '"}}'))
except UserError as error:
    print(error.hint)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
index.save_run(replace(RUN, id="after"))
print(index.run("after") is not None, index.run(RUN.id) == RUN)
"""
    said, after = other(lines).finish().splitlines()
    assert "disk" in said
    assert after == "True True"
