"""The migrations of the index: they make today's tables, and keep every result of the older ones."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from indexes import RUN, connected
from sqlalchemy import Connection, MetaData, insert, text

import store
from store.databases import metadata
from store.errors import UserError
from store.index import Index
from store.keys import key_of
from store.schema import Result
from store.sqlite_file import NEWEST, VERSION_TABLE

Start = Callable[[str], Any]
HERE = Path(__file__).parent
VERSIONS = ("0001", "0002")
KILLED = """
from sqlalchemy import Engine, event
from store.index import Index

@event.listens_for(Engine, "commit")
def before_the_commit(connection):
    pause()

Index(URL)
"""
RIGHT = {  # without an attack, by run
    "0001": {"clip-tiny-clip": 45, "mmcoa-digits-5shot-36127a5e": 446},
    "0002": {"clip-tiny-clip": 444, "ft-standard-digits-full-9dea1088": 441, "tecoa-digits-full-578f3f3e": 454,
             "mmcoa-digits-full-48c218ad": 439},
}  # fmt: skip


def dump(version: str) -> str:
    """An index as it was: `0001` by mmcoa 0.1.0, of a model and a run with a test each; `0002` by the demo."""
    return (HERE / f"index_{version}.sql").read_text(encoding="utf8")


def old_rows(version: str, table: str = "evaluations") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(":memory:")) as old:
        old.executescript(dump(version))
        old.row_factory = sqlite3.Row
        return [dict(row) for row in old.execute(f"SELECT * FROM {table}")]


def upgrade(url: str, version: str, then: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring an empty database to a version, by the migrations alone."""
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    with connected(url) as connection:
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.upgrade(config, version)
        then(connection)


def restore(url: str, version: str) -> None:
    """Put an old index into the database: the very file where it is one, else its rows into the tables of then."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as old:
            old.executescript(dump(version))
        return

    def fill(connection: Connection) -> None:
        tables = MetaData()
        tables.reflect(connection)
        for name in ("runs", "evaluations"):
            connection.execute(insert(tables.tables[name]), old_rows(version, name))

    upgrade(url, version, fill)


def migrated(url: str) -> dict[str, dict[str, Result]]:
    """The results by evaluation and metric."""
    found: dict[str, dict[str, Result]] = {}
    for _, result in Index(url).results():
        found.setdefault(result.evaluation, {})[result.metric] = result
    return found


@pytest.mark.parametrize("begun", [None, "0001", "0005"])
def test_a_new_index_and_a_migrated_one_have_the_tables_of_the_schema(url: str, begun: str | None) -> None:
    if begun:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        upgrade(url, begun)
    Index(url)
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all() == [NEWEST]


def test_the_migrations_run_wherever_the_package_lies(tmp_path: Path, other: Start) -> None:
    shutil.copytree(Path(store.__file__).parent, tmp_path / "100% new" / "store")
    restore(f"sqlite:///{tmp_path / 'index.db'}", "0001")
    lines = """
sys.path.insert(0, str(folder / "100% new"))
from store.index import Index
print(Index.__init__.__code__.co_filename, len(Index(f"sqlite:///{folder / 'index.db'}").runs()))
"""
    assert other(lines).finish() == f"{tmp_path / '100% new' / 'store' / 'index.py'} 2\n"


def test_a_kill_while_the_tables_are_made_leaves_an_index_that_opens(url: str, other: Start) -> None:
    other(KILLED.replace("URL", repr(url))).paused().kill()
    index = Index(url)
    index.save_run(RUN)
    assert index.runs() == [RUN]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kill_in_a_later_migration_loses_nothing(url: str, other: Start, version: str) -> None:
    restore(url, version)
    other(KILLED.replace("URL", repr(url))).paused().kill()
    assert migrated(url).keys() == {row["id"] for row in old_rows(version)}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_index_keeps_its_results(url: str, version: str) -> None:
    restore(url, version)
    found, old = migrated(url), old_rows(version)
    assert len(found) == len(old) > 0
    for row in old:
        right = RIGHT[version][row["run_id"]]
        expected = {row["metric"]: (row["value"], row["n"])}
        if row["attack"] != "clean":
            expected["attack_success_rate"] = (row["attack_success_rate"], right)
        for name in ("collisions", "distinct_prompts"):
            if row.get(name) is not None:
                expected[name] = (row[name] / 10, 10)
        assert {name: (one.value, one.n) for name, one in found[row["id"]].items()} == expected
        for one in found[row["id"]].values():
            same = ("run_id", "dataset", "attack", "examples", "seed", "seconds", "device", "created_at")
            assert all(getattr(one, name) == row[name] for name in same)
            assert (one.task, one.version) == ("classification", "")
            assert one.weights == json.loads(row["spec"])["examples"]["weights"]
            assert (one.low is None) == (one.metric in ("collisions", "distinct_prompts"))


def test_the_intervals_are_of_what_was_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    restore(url, "0002")
    found = migrated(url)["4df3cf858618b76fd251e0626ff3b8a1d8c05de7"]  # 48.5 of 500, after 444
    accuracy, success = found["robust_accuracy"], found["attack_success_rate"]
    assert (accuracy.value, accuracy.low, accuracy.high) == pytest.approx((0.097, 0.0740483, 0.1260969), abs=1e-7)
    assert (success.low, success.high) == pytest.approx((0.8733434, 0.9282796), abs=1e-7)


def test_the_settings_of_old_columns_are_documents(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    restore(url, "0001")
    (one,) = {one.metric: one for _, one in Index(url).results(runs=["clip-tiny-clip"], attacks=["multimodal"])
              if one.metric == "robust_accuracy"}.values()  # fmt: skip
    text_settings = {
        "version": 1, "mlm": "ea572eaea6f8cf29dec881b51a36dfdca35b3cd8", "mlm_name": "tiny-mlm",
        "mlm_origin": "stand-in", "max_candidates": 10, "min_score": 0.3, "max_words_changed": 1,
        "no_collisions": False, "compat": "none",
    }  # fmt: skip
    image_settings = {
        "version": 1, "seed": 0, "norm": "linf", "eps": "1/255", "alpha": "1/255", "steps": 2, "random_start": True,
        "stop_when_fooled": False,
    }  # fmt: skip
    assert one.threat == {"image": image_settings, "text": text_settings}
    prompts = [f"This is a photo of a {digit}" for digit in
               ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")]  # fmt: skip
    checksum = "0f3242a1d869e077f725b8699a811665b56cc8311a2bdd54df4cbb43df951d63"
    assert one.setting == {
        "split": "test", "limit": 50, "partial": False, "part": "", "pixel_size": 8, "precision": "fp32",
        "compat": "none", "batch_size": 128, "digests": 1, "data": key_of([checksum, prompts])[:8],
    }  # fmt: skip


def test_removing_a_run_of_an_old_index_removes_its_results(url: str) -> None:
    restore(url, "0001")
    Index(url).remove_run("clip-tiny-clip")
    assert {one.run_id for of in migrated(url).values() for one in of.values()} == {"mmcoa-digits-5shot-36127a5e"}


CLEAN, TEXT = "48d432264bffba3c5b5d025d9051044d3d94955a", "c73c91baf742042e6775f93fbaabe2ef72ccd8dd"


def changed(url: str, evaluation: str, **values: Any) -> None:
    with connected(url) as connection:
        for name, value in values.items():
            change = text(f"UPDATE evaluations SET {name} = :value WHERE id = :id")
            connection.execute(change, {"value": value, "id": evaluation})


def test_what_an_old_row_does_not_say_is_left_open(url: str) -> None:
    restore(url, "0002")
    clean, text_attack = "671be35729de46039468a3416325926d39bffe7d", "0b7e59939e7d1d1d2b725eb670328409d8e94519"
    changed(url, clean, spec='{"examples": {"data": 7, "image": []}}', weights=None)
    changed(url, text_attack, spec="{}", weights=None, distinct_prompts=None)
    found = migrated(url)
    assert found[clean]["clean_accuracy"].threat == {}
    assert found[clean]["clean_accuracy"].setting == {
        "split": "test", "limit": None, "partial": False, "part": "", "pixel_size": None, "precision": "fp32",
        "compat": "none", "batch_size": 128, "digests": 1, "data": "",
    }  # fmt: skip
    assert found[text_attack].keys() == {"robust_accuracy", "attack_success_rate", "collisions"}
    named = {"mlm_name": "tiny-mlm", "mlm_origin": "stand-in", "no_collisions": False}
    assert found[text_attack]["robust_accuracy"].threat == {"text": named}
    success = found[text_attack]["attack_success_rate"]
    assert (success.value, success.n, success.low) == (pytest.approx(0.797297297), 0, None)


MALFORMED: dict[str, tuple[str, dict[str, Any]]] = {
    "is not the share": (TEXT, {"value": 0.5}),
    "is not the share ": (TEXT, {"correct": 51, "value": 51 / 50}),
    "by zero": (TEXT, {"n": 0}),
    "unsupported operand": (TEXT, {"value": "abc"}),
    "prompts is no JSON": (TEXT, {"prompts": "["}),
    "prompts is no JSON ": (TEXT, {"prompts": "[" * 100_000}),
    "prompts is not the JSON": (TEXT, {"prompts": '{"a": 1}'}),
    "spec is no JSON": (CLEAN, {"spec": "\x00"}),
    "spec is not the JSON": (CLEAN, {"spec": "[]"}),
    "finite": (CLEAN, {"spec": '{"examples": {"data": {"checksum": "a"}, "prompts": [NaN]}}'}),
}


@pytest.mark.parametrize("said", MALFORMED)
def test_an_old_row_that_cannot_be_is_refused_and_the_index_left_as_it_is(tmp_path: Path, said: str) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    restore(url, "0001")
    evaluation, values = MALFORMED[said]
    changed(url, evaluation, **values)
    with pytest.raises(UserError, match=f"not to be trusted: evaluations '{evaluation}': .*{said.strip()}") as error:
        Index(url)
    assert re.fullmatch(r"[^\n]{1,300}", str(error.value))
    with connected(url) as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all() == ["0001"]
        assert connection.execute(text("SELECT count(*) FROM evaluations")).scalar() == 8


def test_the_newest_version_is_that_of_the_migrations() -> None:
    names = sorted(path.name[:4] for path in (Path(store.__file__).parent / "migrations" / "versions").glob("0*.py"))
    assert names[-1] == NEWEST
