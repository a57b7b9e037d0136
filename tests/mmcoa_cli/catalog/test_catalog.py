"""The catalog's loader, and the paper's numbers against the table of them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from mmcoa_cli import catalog
from store.errors import UserError


def value(**wanted: str) -> float:
    """The one number whose fields are `wanted`."""
    (found,) = [e for e in catalog.paper() if all(getattr(e, name) == value for name, value in wanted.items())]
    return found.value


def test_every_line_of_the_table_is_a_number() -> None:
    with catalog.file("paper.csv").open(newline="", encoding="utf8") as file:
        lines = list(csv.DictReader(file))
    assert len(catalog.paper()) == len(lines) == 611
    for line, entry in zip(lines, catalog.paper(), strict=True):
        scale = 100 if entry.metric == "accuracy" or entry.metric[:4] in ("TR@1", "IR@1", "TR@5", "IR@5") else 1
        assert entry.value * scale == pytest.approx(float(line["value"]), abs=1e-4)
        assert {**line, "value": ""} == {**entry._asdict(), "value": ""}


def test_numbers_as_the_paper_prints_them() -> None:
    assert value(table="I", method="clip", dataset="cifar10", attack="multimodal") == pytest.approx(0.1165)
    assert value(table="I", method="mmcoa", dataset="cifar10", attack="image") == pytest.approx(0.8455)
    assert value(table="I", method="mmcoa", dataset="cifar100", attack="image") == pytest.approx(0.595)
    assert value(table="I", method="ft-standard", dataset="cifar100", attack="clean") == pytest.approx(0.8521)
    assert value(table="V", method="mmcoa", dataset="tinyimagenet") == pytest.approx(0.2288)
    assert value(table="VI", method="clip", metric="TR@1") == pytest.approx(0.0394)
    assert value(table="VIII", source="imagenet", shots="50") == 69.0  # minutes an epoch, no share


def test_numbers_by_table() -> None:
    counts = Counter(entry.table for entry in catalog.paper())
    assert counts == {"I": 64, "II": 208, "III": 208, "IV": 64, "V": 22, "VI": 18, "VII": 20, "VIII": 7}


def test_shares_are_shares() -> None:
    shares = [entry.value for entry in catalog.paper() if entry.task != "time"]
    assert all(0 <= share <= 1 for share in shares)


def test_no_number_is_given_twice_with_another_value() -> None:
    """Tables repeat each other's numbers; a report looks them up whatever their table."""
    values: dict[tuple[str, ...], set[float]] = {}
    for e in catalog.paper():
        values.setdefault((e.task, e.source, e.shots, e.method, e.dataset, e.attack, e.metric), set()).add(e.value)
    assert {key: found for key, found in values.items() if len(found) > 1 and key[0] == "iid"} == {}


def test_synonyms_are_of_classes_and_sizes_are_known() -> None:
    for row in catalog.datasets().values():
        assert set(row.synonyms) <= set(row.class_names)
        assert row.bytes > 0


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UserError) as caught:
        catalog.lookup(catalog.datasets(), "cifra10", "dataset")
    assert str(caught.value) == "there is no dataset called 'cifra10'"
    assert "cifar10" in caught.value.hint
    with pytest.raises(UserError) as caught:
        catalog.lookup(catalog.methods(), "zzz", "method")
    assert "choose one of clip, ft-standard" in caught.value.hint


def test_a_key_that_no_dataclass_has_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text('[table.iid]\ntitel = "Table I"\n', encoding="utf8")
    with pytest.raises(ValueError, match="iid: the catalog knows no titel"):
        catalog._rows(catalog.TableRow, str(tmp_path / "tables.toml"), "table")
