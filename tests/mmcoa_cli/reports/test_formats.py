"""What a report looks like: the table at several widths, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports import content
from mmcoa_cli.reports.comparing import compare
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import FORMATS, render, save
from mmcoa_cli.reports.rows import Row
from mmcoa_cli.reports.wording import short
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

IID = catalog.tables()["iid"]
ALL = {"image": 8411, "text": 9580, "multimodal": 8420, "clean": 9590}
Add = Callable[..., Any]


def report(index: Index, format: str = "table", *, seeds: bool = False, **options: Any) -> str:
    return render(report_of(rows(index, IID), IID, seeds=seeds), format=format, **options)


def percents(row: Row) -> str:
    return f"{100 * row.value:.2f}"


def test_the_table_of_one_run(index: Index, add: Add) -> None:
    add("mmcoa", ALL, collisions=1)
    assert report(index, width=80) == (
        "Table I: trained and tested on cifar10\n"
        "Clean accuracy, and robust accuracy under each attack, in percent\n"
        "\n"
        "cifar10 · ViT-B-32\n"
        "10,000 test images, seed 0\n"
        "image attack: L-inf, eps 1/255, alpha 1/255, 100 steps, on 32 x 32 pixels\n"
        "text attack: 1 word, aligned, masked LM bert-base-uncased\n"
        "\n"
        "                      image         text   multimodal        clean\n"
        "──────────────────────────────────────────────────────────────────\n"
        "mmcoa, full           84.11       95.80        84.20         95.90\n"
        "  95% interval  83.38–84.81  95.39–96.18  83.47–84.90  95.49–96.27\n"
        "  paper               84.55       96.16‡       84.52‡        96.17\n"
        "  collisions              –        1/10         1/10             –\n"
        "\n"
        "‡ the paper's text attack is that of its released code (--compat release); this\n"
        "one is aligned\n"
        "collisions: adversarial prompts whose new word is another class's name; none\n"
        "where the line is missing\n"
    )


def test_shared_prompts_have_a_line_and_a_column(index: Index, add: Add) -> None:
    """None where every class has a prompt of its own, or where an older index does not say."""
    assert report_with(index, add) == []
    assert report_with(index, add, distinct_prompts=6) == [
        "  distinct                –        6/10         6/10             –",
        "distinct: adversarial prompts that are different to the model; a tie among m",
    ]
    told = json.loads(report(index, format="json"))["rows"]
    assert {row["distinct_prompts"] for row in told} == {None, 10, 6}
    assert "distinct_prompts" in report(index, format="csv").splitlines()[0].split(",")


def report_with(index: Index, add: Add, **changes: Any) -> list[str]:
    """The lines on distinct prompts in the table of a run with such results."""
    add("mmcoa", ALL, seed=len(rows_of(index)), **changes)
    return [line for line in report(index, width=80).splitlines() if "distinct" in line]


def rows_of(index: Index) -> list[object]:
    return list(index.results())


def test_eps_in_the_form_of_an_older_index_stands_in_the_same_table(index: Index, add: Add) -> None:
    add("clip", ALL, eps="2/510", alpha="0.00392156862745098")
    add("mmcoa", ALL)
    text = report(index, width=100)
    assert text.count("image attack: L-inf, eps 1/255, alpha 1/255, 100 steps") == 1
    assert text.count("paper  ") >= 2  # so the paper's numbers stand beside both
    assert "2/510" not in text + report(index, format="json") + report(index, format="csv")


def test_steps_that_do_not_fit_eps_are_named_with_the_attack(index: Index, add: Add) -> None:
    add("clip", ALL, norm="l2", eps="4", steps=10)
    assert "(warning: steps x alpha = 10 x 1/255 does not reach eps 4: a weak attack)" in report(index, width=200)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
def test_no_percent_is_ever_broken(index: Index, everything: None, width: int) -> None:
    text = report(index, width=width)
    assert "…" not in text
    found = set(re.findall(r"(?<![\d.])\d{1,3}\.\d\d(?!\d)", text))
    assert {percents(row) for row in rows(index, IID)} <= found
    assert {f"{100 * row.paper:.2f}" for row in rows(index, IID) if row.paper is not None} <= found


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_keeps_to_the_width(index: Index, everything: None, width: int) -> None:
    assert max(map(len, report(index, width=width).splitlines())) <= width


def test_stand_ins_subsets_and_partial_data_are_named(index: Index, everything: None) -> None:
    text = report(index, width=140)
    assert "cifar10 · clip-vit-cifar10 (a stand-in model)\n1,000 test images, a class-balanced subset, seed 0\n" in text
    assert "aligned, masked LM bert-tiny-captions-mlm (a stand-in)" in text
    assert "400 test images, some classes without any, seed 0" in text
    assert "trained with epochs 3, lr 0.0001: ft-standard, 50-shot; tecoa, 50-shot; mmcoa, 50-shot" in text


def test_parts_of_the_data_are_told_in_every_format(index: Index, add: Add) -> None:
    part, trained = "400 of 1,880 test images", "10,000 of 50,000 training images"
    add("mmcoa", ALL, part=part, train_part=trained)
    for format in FORMATS:
        text = report(index, format, width=200)
        assert part in text and trained in text
    text = report(index, width=140)
    assert f"10,000 test images, only a part of the dataset ({part}), seed 0" in text
    assert f"trained on a part, {trained}: mmcoa, full" in text and "  paper" not in text


def test_aligned_and_release_never_share_a_table(index: Index, everything: None) -> None:
    sheets = report(index, width=140).split("\n\ncifar10 · ViT-B-32\n")[1:]
    assert sum("compat release" in sheet.splitlines()[0] for sheet in sheets) == 1
    for sheet in sheets:
        assert ("aligned" in sheet.splitlines()[2]) != ("the release's own" in sheet.splitlines()[2])


def test_the_papers_full_training_stands_below_few_shots(index: Index, add: Add) -> None:
    add("mmcoa", ALL, shots="5")
    assert re.search(r"paper, full +84\.55 +96\.16‡ +84\.52‡ +96\.17", report(index))
    add("mmcoa", ALL)
    assert "paper, full" not in report(index)  # the line of full training has the same numbers


def test_no_paper(index: Index, add: Add) -> None:
    add("mmcoa", ALL, shots="5")
    add("tecoa", ALL)
    for format in FORMATS:
        text = render(report_of(rows(index, IID, paper=False), IID), format=format)
        assert not re.search(r"[†‡§]|\b84\.55\b|\b0\.8455\b|\b92\.04\b|\b0\.9204\b", text)


def test_means_over_seeds(index: Index, add: Add) -> None:
    for seed, correct in enumerate((8000, 8100, 8300)):
        add("mmcoa", {"image": correct, "clean": 9000}, seed=seed)
    add("mmcoa", {"text": 9000}, seed=0)
    text = report(index, seeds=True)
    assert "seeds 0, 1, 2" in text
    assert re.search(r"mmcoa, full +81\.33 +90\.00 +90\.00\n +sd \(seeds\) +±1\.53 \(3\) +– \(1\) +±0\.00 \(3\)", text)


def test_markdown(index: Index, everything: None) -> None:
    text = report(index, "markdown")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {6}
    assert "### cifar10 · ViT-B-32" in text
    assert "| **mmcoa, full** | 84.55 | **96.16** | **84.52** | **96.17** |" in tables
    assert "| *paper* | 84.55 | 96.16‡ | 84.52‡ | 96.17 |" in tables


def test_latex(index: Index, add: Add) -> None:
    add("mmcoa", ALL, model="a_b&c%", collisions=1)
    text = report(index, "latex")
    assert r"a\_b\&c\%" in text and r"\caption{cifar10 $\cdot$" in text and "-{}-compat" in text
    assert r"    mmcoa, full & 84.11 & 95.80 & 84.20 & 95.90 \\" in text
    assert r"\footnotesize 83.38--84.81" in text and r"96.16\dag{}\ddag{}" in text
    for word in (
        r"\begin{table}",
        r"\end{table}",
        r"\label{tab:mmcoa-iid-1}",
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ):
        assert text.count(word) == 1
    assert text.isascii() and text.count("{") == text.count("}")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_latex_compiles_and_fits(index: Index, add: Add, tmp_path: Path, columns: str) -> None:
    add("mmcoa", ALL, model="a_b&c%#$~^{}\\x", collisions=1)
    add("clip", {"image": 5, "clean": 6}, model="a<b>|c")
    for dataset in catalog.tables()["ood"].datasets:
        add("mmcoa", {"multimodal": 10}, source="imagenet", dataset=dataset, shots="5")
    tables = [catalog.tables()[name] for name in ("iid", "ood", "compare")]
    reports = [report_of(rows(index, table), table) for table in tables]
    compare(reports[-1], Home(tmp_path, ""))
    assert any(row.behind and row.behind.by for row in reports[-1].results)
    texts = [render(report, format="latex") for report in reports]
    labels = re.findall(r"\\label{([^}]*)}", "".join(texts))
    assert len(set(labels)) == len(labels) > 1
    body = "\n".join([*texts, *(f"\\ref{{{label}}}" for label in labels)])
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
    document = f"\\documentclass[{columns}]{{article}}{packages}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "tables.tex").write_text(document, encoding="ascii")
    for _ in range(2):  # the second time references are known
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"],
            cwd=tmp_path, capture_output=True, text=True, encoding="latin-1", timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout
    assert not re.findall(r"Overfull \\hbox \(([0-9]{2,})", done.stdout)  # more than 10 points


def test_no_number_is_told_as_a_power_of_ten(index: Index, add: Add) -> None:
    """ImageNet has a thousand prompts, and an epoch may take a thousand minutes."""
    add("mmcoa", {"text": 10, "multimodal": 10}, dataset="imagenet", collisions=1000)
    assert (short(0.01234), short(12.34), short(999.6), short(1234.5)) == ("0.0123", "12.3", "1,000", "1,234")
    assert (short(0.0000123), short(0.0)) == ("0.0000123", "0")
    assert re.search(r"collisions +1000/1000 +1000/1000\n", report(index))


def test_csv_is_tidy(index: Index, everything: None) -> None:
    table = pd.read_csv(io.StringIO(report(index, "csv")))
    found = rows(index, IID)
    assert len(table) == len(found)
    assert list(table["value"]) == [row.value for row in found]
    assert list(table["ci95_low"]) == [row.ci95[0] for row in found]
    assert list(table["shots"]) == [row.shots for row in found]
    assert table["paper"].isna().sum() == sum(row.paper is None for row in found)


def test_json_is_the_contracts(index: Index, everything: None) -> None:
    document = json.loads(report(index, "json"))
    assert list(document) == ["task", "rows", "missing"] and document["task"] == "iid"
    assert all(0 <= row["ci95"][0] <= row["value"] <= row["ci95"][1] <= 1 for row in document["rows"])
    assert document == json.loads(report(index, "json", seeds=True))


def test_names_from_elsewhere_are_only_text(index: Index, add: Add) -> None:
    add("clip", ALL, model="[bold red]x[/] | y")  # the index refuses what does not print
    text = report(index, width=140)
    assert "[bold red]x[/] | y" in text and "\x1b" not in text
    assert r"\[bold red]x\[/] \|" in report(index, "markdown")


def test_an_unknown_format(index: Index, add: Add) -> None:
    add("clip", ALL)
    with pytest.raises(UserError, match="there is no format called 'pdf'"):
        report(index, "pdf")


def test_a_report_is_saved_whole(tmp_path: Path) -> None:
    save("84.55 ± 0.1\n", tmp_path / "new" / "table.md")
    assert (tmp_path / "new" / "table.md").read_text(encoding="utf8") == "84.55 ± 0.1\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["table.md"]


def test_own_weights_are_named_by_their_sha256(index: Index, add: Add) -> None:
    own = {"model": "lab", "origin": "own", "sha256": "1a2b3c4d" + 56 * "0", "mlm": "words", "mlm_origin": "own"}
    add("clip", {"text": 500}, n=1000, **own)
    text = report(index, width=140)
    assert "cifar10 · lab (own weights, sha256 1a2b3c4d)" in text
    assert "masked LM words (own weights)" in text and "stand-in" not in text
    (row,) = json.loads(report(index, "json"))["rows"]
    assert (row["origin"], row["sha256"][:8], row["mlm_origin"]) == ("own", "1a2b3c4d", "own")


def test_a_long_table_shows_the_newest_of_each_and_says_so(index: Index, add: Add) -> None:
    for seed in range(content.MOST + 1):
        add("mmcoa", ALL, shots="5", run_seed=seed, created_at=f"2026-01-01T02:00:00.{seed:06}+00:00")
    whole = report_of(rows(index, IID), IID)
    short = whole.newest()
    assert {row.train_seed for row in short.results} == {content.MOST} and len(short.results) == len(ALL)
    assert f"; {len(ALL) * content.MOST} older ones are not shown" in render(short)
    assert "older ones" not in render(whole) and len(json.loads(render(whole, format="json"))["rows"]) > len(ALL)


def test_a_table_that_can_be_read_is_shown_whole(index: Index, everything: None) -> None:
    whole = report_of(rows(index, IID), IID)
    assert whole.newest() is whole
