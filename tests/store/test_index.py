"""The index: rows come back, two processes write at once, a kill loses nothing, other databases are left alone.

The same is tested on SQLite and on a PostgreSQL server of the test's own, where its programs are found.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

import store
from store.errors import UserError
from store.index import Index
from store.index_origin import VERSION_TABLE
from store.schema import Evaluation, Run, evaluations, metadata, runs

Start = Callable[[str], Any]
RUN = Run(
    id="mmcoa-abc123",
    kind="train",
    method="mmcoa",
    model="ViT-B-32",
    model_origin="published",
    weights=None,
    source="cifar10",
    shots="5",
    seed=2**40,
    compat="none",
    status="running",
    spec='{"epochs": 10}',
    created_at="2026-11-24T01:00:00+00:00",
    finished_at=None,
)
EVALUATION = Evaluation(
    id="e" * 40,
    run_id=RUN.id,
    dataset="cifar10",
    split="test",
    attack="multimodal",
    metric="robust_accuracy",
    compat="release",
    value=0.1 + 0.2,
    n=1000,
    correct=300,
    attack_success_rate=None,
    collisions=3,
    seed=0,
    limit=1000,
    partial=True,
    norm="linf",
    eps="1/255",
    alpha="1/255",
    steps=100,
    precision="float32",
    no_collisions=False,
    stop_when_fooled=False,
    examples="f" * 40,
    mlm="bert-base-uncased",
    mlm_origin=None,
    weights="w" * 40,
    distinct_prompts=None,
    prompts='[["a cat", "a Kätzchen 猫"]]',
    spec="{}",
    seconds=1.25,
    batch_size=128,
    device="cpu",
    created_at="2026-11-24T02:00:00+00:00",
)

LINES = """
import sys
sys.path.insert(0, TESTS)
from dataclasses import replace
from sqlalchemy import Engine, event
from store.index import Index
from test_index import EVALUATION, RUN
url = URL
"""
MANY = """
pause()
index = Index(url)
for number in range(30):
    index.save_run(replace(RUN, id=f"run{number}"))
    index.save_evaluation(replace(EVALUATION, id=f"evaluation{number}", run_id=f"run{number}"))
"""
KILLED = """
index = Index(url)
index.save_run(RUN)

@event.listens_for(Engine, "commit")
def before_the_commit(connection):
    pause()

index.save_run(replace(RUN, status="complete"))
"""
MIGRATION_KILLED = """
@event.listens_for(Engine, "commit")
def before_the_commit(connection):
    pause()

Index(url)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that is not there yet, or empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a % folder' / 'index.db'}"
        return
    address = request.getfixturevalue("postgresql")
    yield address
    with connected(address) as connection:
        for table in ("evaluations", "runs", VERSION_TABLE):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection past the index, in a transaction."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def lines(url: str) -> str:
    return LINES.replace("TESTS", repr(str(Path(__file__).parent))).replace("URL", repr(url))


def test_rows_come_back_as_they_were(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    index.save_evaluation(EVALUATION)
    again = Index(url)
    assert again.run(RUN.id) == RUN
    assert again.evaluation(EVALUATION.id) == EVALUATION
    assert again.evaluations() == [(RUN, EVALUATION)]
    assert again.run("none") is None
    assert again.evaluation("none") is None


def test_saving_again_replaces_and_keeps_the_evaluations(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    index.save_evaluation(EVALUATION)
    done = replace(RUN, status="complete", finished_at="2026-11-24T03:00:00+00:00")
    index.save_run(done)
    index.save_evaluation(replace(EVALUATION, value=0.5, correct=500.0))
    assert index.runs() == [done]
    assert index.evaluations() == [(done, replace(EVALUATION, value=0.5, correct=500.0))]


def test_the_oldest_comes_first(url: str) -> None:
    index = Index(url)
    for day in ("3", "1", "2"):
        index.save_run(replace(RUN, id=f"run{day}", created_at=f"2026-11-0{day}"))
    assert [run.id for run in index.runs()] == ["run1", "run2", "run3"]


def test_removing_a_run_removes_its_evaluations(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    index.save_evaluation(EVALUATION)
    index.remove_run(RUN.id)
    assert index.runs() == []
    assert index.evaluation(EVALUATION.id) is None


def test_an_evaluation_needs_its_run(url: str) -> None:
    index = Index(url)
    with pytest.raises(IntegrityError):
        index.save_evaluation(EVALUATION)
    assert index.evaluation(EVALUATION.id) is None


def test_a_run_is_found_by_the_beginning_of_its_id(url: str) -> None:
    index = Index(url)
    for name in ("mmcoa-abc", "mmcoa-abcd", "tecoa-123"):
        index.save_run(replace(RUN, id=name))
    assert index.find_run("tec").id == "tecoa-123"
    assert index.find_run("mmcoa-abc").id == "mmcoa-abc"  # an id, though another begins with it
    with pytest.raises(UserError, match="2 runs begin with 'mm'") as error:
        index.find_run("mm")
    assert error.value.hint == "type more: mmcoa-abc, mmcoa-abcd"
    with pytest.raises(UserError, match="no run or model called 'tecoa-132'") as error:
        index.find_run("tecoa-132")
    assert error.value.hint.startswith("did you mean tecoa-123")


def test_an_empty_index_says_how_to_make_a_run(url: str) -> None:
    with pytest.raises(UserError) as error:
        Index(url).find_run("")
    assert error.value.hint.startswith("mmcoa train makes a run")


def test_the_migrations_make_the_tables_of_the_schema(url: str) -> None:
    Index(url)
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_run_wherever_the_package_lies(tmp_path: Path, other: Start) -> None:
    shutil.copytree(Path(store.__file__).parent, tmp_path / "100% new" / "store")
    lines = """
sys.path.insert(0, str(folder / "100% new"))
from store.index import Index
print(Index.__init__.__code__.co_filename, Index(f"sqlite:///{folder / 'index.db'}").runs())
"""
    assert other(lines).finish() == f"{tmp_path / '100% new' / 'store' / 'index.py'} []\n"


def test_an_index_of_the_first_version_keeps_its_results(tmp_path: Path) -> None:
    """`index_0001.sql` is what mmcoa 0.1.0 wrote: a zero-shot evaluation and a training run with its own."""
    with closing(sqlite3.connect(tmp_path / "index.db")) as old:
        old.executescript((Path(__file__).parent / "index_0001.sql").read_text(encoding="utf8"))
        before = old.execute(
            "SELECT id, run_id, value, n, correct, prompts, spec FROM evaluations ORDER BY id"
        ).fetchall()
    index = Index(f"sqlite:///{tmp_path / 'index.db'}")
    found = {row.id: row for _, row in index.evaluations()}
    after = [(r.id, r.run_id, r.value, r.n, r.correct, r.prompts, r.spec) for _, r in sorted(found.items())]
    assert after == before and len(after) == 8
    assert {run.model_origin for run in index.runs()} == {"stand-in"}
    assert {row.mlm_origin for row in found.values()} == {None, "stand-in"}
    assert all(row.weights == json.loads(row.spec)["examples"]["weights"] for row in found.values())
    index.remove_run("clip-tiny-clip")  # its evaluations refer to it still
    assert len(index.evaluations()) == 4


def test_the_records_are_the_rows() -> None:
    assert [field.name for field in fields(Run)] == [column.name for column in runs.columns]
    assert [field.name for field in fields(Evaluation)] == [column.name for column in evaluations.columns]


def test_two_processes_write_at_once(url: str, lines: str, other: Start) -> None:
    processes = [other(lines + MANY) for _ in range(3)]
    for process in processes:
        process.paused()
    for process in processes:
        process.go()
    for process in processes:
        process.finish()
    assert len(Index(url).evaluations()) == 30


def test_a_kill_before_the_commit_leaves_the_old_row(url: str, lines: str, other: Start) -> None:
    killed = other(lines + KILLED)
    killed.paused().kill()
    index = Index(url)
    assert index.run(RUN.id) == RUN
    index.save_run(replace(RUN, status="complete"))
    assert index.runs() == [replace(RUN, status="complete")]


def test_a_kill_in_the_first_migration_leaves_an_index_that_opens(url: str, lines: str, other: Start) -> None:
    other(lines + MIGRATION_KILLED).paused().kill()
    index = Index(url)
    index.save_run(RUN)
    assert index.runs() == [RUN]


def test_readers_do_not_wait_for_a_writer(url: str, lines: str, other: Start) -> None:
    writer = other(lines + KILLED).paused()
    assert Index(url).run(RUN.id) == RUN
    writer.go().finish()
    assert Index(url).runs() == [replace(RUN, status="complete")]


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    Index(url)
    with connected(url) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(UserError, match="written by a newer version") as error:
        Index(url)
    assert error.value.hint == "upgrade mmcoa"


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (id)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(UserError, match="is not an index of mmcoa"):
        Index(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all " * 100, b"SQLite format 3\x00" + bytes(range(256)) * 16])
def test_a_damaged_file_is_refused_in_one_line_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"index\.db cannot be used: ") as error:
        Index(f"sqlite:///{path}")
    assert "\n" not in str(error.value)
    assert "move it away" in error.value.hint
    assert path.read_bytes() == content


def test_damage_found_later_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(f"sqlite:///{path}")
    index.save_run(RUN)
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(UserError, match=r"index\.db cannot be used: "):
        index.runs()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@127.0.0.1:1/mmcoa",
        "postgresql://user@127.0.0.1:1/mmcoa?password=s3cret",
        "postgresql://user:s3cret/more@host:port/mmcoa",
        "nonsense://user:s3cret@host/mmcoa",
        "s3cret",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    with pytest.raises(UserError) as error:
        Index(url)
    assert "s3cret" not in f"{error.value} {error.value.hint} {error.value.__cause__}"
    assert "\n" not in str(error.value)


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    Index(f"sqlite:///{tmp_path / 'index.db'}")
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
