"""The index: rows come back, two processes write at once, a kill loses nothing, other databases are left alone.

The same is tested on SQLite and on a PostgreSQL server of the test's own, where its programs are found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from indexes import DETAIL, EPOCH, RESULT, RUN, connected
from sqlalchemy import text

from store.databases import REPLACE
from store.errors import UserError
from store.index import Index
from store.schema import Value
from store.sqlite_file import VERSION_TABLE

Start = Callable[[str], Any]
LINES = """
import sys
sys.path.insert(0, TESTS)
from dataclasses import replace
from sqlalchemy import Engine, event
from store.index import Index
from indexes import RESULT, RUN
url = URL
"""
MANY = """
pause()
index = Index(url)
for number in range(30):
    index.save_run(replace(RUN, id=f"run{number}"))
    index.save_results([replace(RESULT, evaluation=f"evaluation{number}", run_id=f"run{number}")])
"""
KILLED = """
index = Index(url)
index.save_run(RUN)

@event.listens_for(Engine, "commit")
def before_the_commit(connection):
    pause()

index.save_run(replace(RUN, status="complete"))
"""


@pytest.fixture
def lines(url: str) -> str:
    return LINES.replace("TESTS", repr(str(Path(__file__).parents[1] / "helpers"))).replace("URL", repr(url))


def test_rows_come_back_as_they_were(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    index.save_results([RESULT, DETAIL])
    again = Index(url)
    assert again.run(RUN.id) == RUN
    assert again.evaluation(RESULT.evaluation) == [DETAIL, RESULT]
    assert again.results() == [(RUN, DETAIL), (RUN, RESULT)]
    assert again.counts() == (1, 1)
    assert again.tests() == [(RUN.id, RESULT.dataset, 1)]
    assert again.results(besides=[DETAIL.metric]) == [(RUN, RESULT)]
    value = Value(*(getattr(DETAIL, name) for name in Value._fields))
    assert again.values([DETAIL.metric], tasks=[DETAIL.task]) == [value]
    assert again.values([DETAIL.metric], attacks=["none"]) == again.values([]) == []
    assert again.run("none") is None
    assert again.evaluation("none") == []
    again.verify()


@pytest.mark.parametrize("at_once", [REPLACE, ()], ids=["in one statement", "as any database does it"])
def test_saving_again_replaces_and_keeps_the_results(
    url: str, monkeypatch: pytest.MonkeyPatch, at_once: tuple[str, ...]
) -> None:
    monkeypatch.setattr("store.databases.REPLACE", at_once)
    index = Index(url)
    index.save_run(RUN)
    index.save_results([RESULT, DETAIL])
    other = replace(RESULT, evaluation="other")
    index.save_results([other])
    done = replace(RUN, status="complete", finished_at="2026-11-24T03:00:00+00:00")
    index.save_run(done)
    index.save_results([replace(RESULT, value=0.28)])
    assert index.runs() == [done]
    assert index.results() == [(done, replace(RESULT, value=0.28)), (done, other)]


def test_results_are_saved_all_or_none(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    with pytest.raises(UserError, match="keeps nothing of a run that it does not have"):
        index.save_results([RESULT, replace(DETAIL, evaluation="other", run_id="none")])
    assert index.results() == []


SELECTIONS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"zero", "own", "other", "retrieval"}),
    ({"own": True}, {"zero", "own"}),
    ({"own": True, "attacks": ["image"]}, {"own"}),
    ({"tasks": ["retrieval"]}, {"retrieval"}),
    ({"attacks": ["clean", "none"]}, {"zero", "other"}),
    ({"datasets": ["cifar10"]}, {"zero", "own"}),
    ({"runs": ["trained"]}, {"own", "other", "retrieval"}),
    ({"evaluations": ["own", "zero"]}, {"own", "zero"}),
    ({"evaluations": []}, set()),
    ({"datasets": ["' OR 1 --"]}, set()),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_results_are_selected(url: str, selection: dict[str, Any], expected: set[str]) -> None:
    index = Index(url)
    trained, zero = replace(RUN, id="trained"), replace(RUN, id="zero-shot", source="")
    for run in (trained, zero):
        index.save_run(run)
    clean, image = replace(RESULT, attack="clean", metric="clean_accuracy"), replace(RESULT, attack="image")
    index.save_results([
        replace(clean, evaluation="zero", run_id="zero-shot"),
        replace(image, evaluation="own", run_id="trained"),
        replace(clean, evaluation="other", run_id="trained", dataset="cifar100"),
        replace(image, evaluation="retrieval", run_id="trained", task="retrieval", dataset="flickr30k"),
    ])  # fmt: skip
    found = index.results(**selection)
    assert {result.evaluation for _, result in found} == expected
    assert all(run == (zero if result.evaluation == "zero" else trained) for run, result in found)


def test_of_each_run_the_newest_result_under_each_attack_is_read_and_no_other(url: str) -> None:
    index = Index(url)
    trained, zero = replace(RUN, id="trained"), replace(RUN, id="zero-shot", source="")
    for run in (trained, zero):
        index.save_run(run)

    def add(name: str, day: int, **changes: Any) -> None:
        own = replace(RESULT, evaluation=name, run_id="trained", created_at=f"2026-11-2{day}T00:00:00+00:00")
        index.save_results([replace(own, **changes), replace(own, **changes, metric="collisions", low=None, high=None)])

    for day in range(1, 8):
        add(f"image{day}", day, attack="image")
        add(f"else{day}", day, attack="image", dataset="stl10")
        add(f"zero{day}", day, attack="image", dataset="stl10", run_id="zero-shot")
    add("text", 1, attack="text")
    found = index.newest(besides=["collisions"])
    assert [one.evaluation for one in found] == ["text", "image7", "zero7"]
    assert {one.metric for one in found} == {RESULT.metric}
    assert {one.evaluation for one in index.newest(datasets=["stl10"])} == {"else7", "zero7"}


def test_the_oldest_comes_first(url: str) -> None:
    index = Index(url)
    for day in ("3", "1", "2"):
        index.save_run(replace(RUN, id=f"run{day}", created_at=f"2026-11-0{day}"))
    assert [run.id for run in index.runs()] == ["run1", "run2", "run3"]


def test_epochs_come_back_in_order_each_once(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    again = replace(EPOCH, loss=0.25, peak_memory=None)
    for epoch in (replace(EPOCH, epoch=10), replace(EPOCH, epoch=2), EPOCH, again):
        index.save_epoch(epoch)
    index.save_run(replace(RUN, status="complete"))
    assert index.epochs(RUN.id) == [again, replace(EPOCH, epoch=2), replace(EPOCH, epoch=10)]
    assert index.epochs("none") == []
    index.verify()


def test_removing_a_run_removes_its_epochs_and_results(url: str) -> None:
    index = Index(url)
    index.save_run(RUN)
    index.save_results([RESULT])
    index.save_epoch(EPOCH)
    index.remove_run(RUN.id)
    assert index.runs() == []
    assert index.epochs(RUN.id) == []
    assert index.evaluation(RESULT.evaluation) == []


def test_a_run_is_found_by_the_beginning_of_its_id(url: str) -> None:
    index = Index(url)
    for name in ("mmcoa-abc", "mmcoa-abcd", "tecoa-123", "tecoa_12"):
        index.save_run(replace(RUN, id=name))
    assert index.find_run("tecoa-").id == "tecoa-123"
    assert index.find_run("tecoa_").id == "tecoa_12"  # which SQL's LIKE would take for any sign
    assert index.find_run("mmcoa-abc").id == "mmcoa-abc"  # an id, though another begins with it
    with pytest.raises(UserError, match="2 runs begin with 'mm'") as error:
        index.find_run("mm")
    assert error.value.hint == "type more: mmcoa-abc, mmcoa-abcd"
    with pytest.raises(UserError, match="no run or model called 'tecoa-132'") as error:
        index.find_run("tecoa-132")
    assert error.value.hint.startswith("did you mean tecoa-123")


def test_an_empty_index_gives_the_hint_of_whoever_asks(url: str) -> None:
    with pytest.raises(UserError) as error:
        Index(url).find_run("", otherwise="make one")
    assert error.value.hint == "make one"


def test_two_processes_write_at_once(url: str, lines: str, other: Start) -> None:
    processes = [other(lines + MANY) for _ in range(3)]
    for process in processes:
        process.paused()
    for process in processes:
        process.go()
    for process in processes:
        process.finish()
    assert len(Index(url).results()) == 30


def test_a_kill_before_the_commit_leaves_the_old_row(url: str, lines: str, other: Start) -> None:
    killed = other(lines + KILLED)
    killed.paused().kill()
    index = Index(url)
    assert index.run(RUN.id) == RUN
    index.save_run(replace(RUN, status="complete"))
    assert index.runs() == [replace(RUN, status="complete")]


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
