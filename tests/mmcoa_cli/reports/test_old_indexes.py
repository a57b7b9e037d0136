"""What a report shows of an index that an older version wrote: all that the older version showed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.rows import as_dicts
from store.index import Index

HERE = Path(__file__).parent
DUMPS = HERE.parents[1] / "store"


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_a_row_has_what_it_had(tmp_path: Path, version: str) -> None:
    """`rows_of_old_indexes.json` was printed by the version that had `evaluations`. There may be more in a row now."""
    with closing(sqlite3.connect(tmp_path / "index.db")) as old:
        old.executescript((DUMPS / f"index_{version}.sql").read_text(encoding="utf8"))
    expected = json.loads((HERE / "rows_of_old_indexes.json").read_text(encoding="utf8"))[version]
    found = as_dicts(rows(Index(f"sqlite:///{tmp_path / 'index.db'}"), catalog.tables()["iid"]))
    shown = json.loads(json.dumps(found))
    assert [{name: row[name] for name in before} for row, before in zip(shown, expected, strict=True)] == expected
