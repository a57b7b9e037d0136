"""The best value of a column is marked, where lines compete for it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports import table
from mmcoa_cli.reports.content import Report, report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import render
from mmcoa_cli.reports.table import print_table
from mmcoa_cli.terminal import lines
from mmcoa_cli.terminal.console import Terminal
from store.index import Index

Add = Callable[..., Any]
MARK = re.compile(r"\*\*([\d.]+)\*\*")
COLUMNS = ("image", "text", "multimodal", "clean")


def report(index: Index, task: str = "iid", **options: Any) -> Report:
    row = catalog.tables()[task]
    return report_of(rows(index, row), row, **options)


def best(index: Index, task: str = "iid", **options: Any) -> list[tuple[str, list[str]]]:
    """Of each line of values the cells that are marked."""
    lines = render(report(index, task, **options), format="markdown").splitlines()
    cells = [line.split("|") for line in lines if line.startswith("| **")]
    return [(name.strip(" *"), MARK.findall("|".join(values))) for _, name, *values in cells]


def test_each_column_has_its_own_best_and_ties_are_all_best(index: Index, add: Add) -> None:
    add("tecoa", dict(zip(COLUMNS, (60, 30, 20, 80), strict=True)), n=100)
    add("mmcoa", dict(zip(COLUMNS, (50, 40, 20, 90), strict=True)), n=100)
    assert best(index) == [("tecoa, full", ["60.00", "20.00"]), ("mmcoa, full", ["40.00", "20.00", "90.00"])]


def test_a_line_alone_competes_with_nobody_nor_with_the_paper(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 1}, n=100)
    assert best(index) == [("mmcoa, full", [])] and "bold" not in render(report(index), format="markdown")
    add("tecoa", {"image": 1}, n=100)
    assert {name: of for name, of in best(index)} == {"mmcoa, full": [], "tecoa, full": []}
    add("tecoa", {"clean": 2}, n=100)  # far below what the paper has for both
    assert best(index)[0] == ("tecoa, full", ["2.00"])
    assert "the paper's numbers take no part" in render(report(index), format="markdown")


def test_over_seeds_the_best_mean_wins(index: Index, add: Add) -> None:
    for seed, (of_tecoa, of_mmcoa) in enumerate(((90, 60), (10, 70))):
        add("tecoa", {"clean": of_tecoa}, n=100, seed=seed)
        add("mmcoa", {"clean": of_mmcoa}, n=100, seed=seed)
    assert best(index, seeds=True) == [("tecoa, full", []), ("mmcoa, full", ["65.00"])]


def test_averages_over_other_datasets_do_not_compete(index: Index, add: Add) -> None:
    for dataset, correct in (("cifar10", 50), ("stl10", 10)):
        add("tecoa", {"multimodal": correct}, source="imagenet", dataset=dataset, n=100)
    add("mmcoa", {"multimodal": 40}, source="imagenet", dataset="cifar10", n=100)
    assert best(index, "ood") == [("tecoa, full", ["50.00"]), ("mmcoa, full", [])]
    add("mmcoa", {"multimodal": 15}, source="imagenet", dataset="stl10", n=100)
    assert best(index, "ood") == [("tecoa, full", ["50.00", "30.00"]), ("mmcoa, full", ["15.00"])]


def test_lines_under_other_attacks_do_not_compete(index: Index, add: Add) -> None:
    """A table over radii has them as columns; here they are lines."""
    radii = replace(catalog.tables()["strength"], lines=("eps", "method"), columns="dataset", cell="value", picture="")
    for eps, scores in (("1/255", (50, 60)), ("4/255", (7, 5))):
        for method, correct in zip(("tecoa", "mmcoa"), scores, strict=True):
            add(method, {"image": correct}, source="imagenet", n=100, eps=eps)
    lines = render(report_of(rows(index, radii), radii), format="markdown").splitlines()
    assert [MARK.findall(line) for line in lines if line.startswith("| **")] == [[], ["60.00"], ["7.00"], []]


@pytest.mark.parametrize(
    ("format", "marked"), [("latex", r"\textbf{90.00}"), ("html", "<strong>90.00</strong>"), ("markdown", "**90.00**")]
)
def test_the_mark_of_each_format(index: Index, add: Add, format: str, marked: str) -> None:
    add("tecoa", {"clean": 80}, n=100)
    add("mmcoa", {"clean": 90}, n=100)
    text = render(report(index), format=format)
    assert text.count(marked) == 1 and text.count(marked.replace("90", "80")) == 0
    assert text.count("bold: the best result of its column") == 1


def test_bold_on_a_terminal_and_nothing_in_plain_text(index: Index, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add("tecoa", {"clean": 80, "image": 30}, n=100)
    add("mmcoa", {"clean": 90, "image": 20}, n=100, shots="5")
    for width in (80, 30):  # in one panel, and in two
        text = io.StringIO()
        colours = Terminal(file=text, force_terminal=True, color_system="standard", legacy_windows=False, width=width)
        for module in (table, lines):
            monkeypatch.setattr(module, "out", colours)
        print_table(report(index))
        assert re.findall(r"\x1b\[1m *([\d.]+)\x1b\[0m", text.getvalue()) == ["30.00", "90.00"]
        assert "bold: the best" in text.getvalue()
    assert "bold" not in render(report(index), format="table")
