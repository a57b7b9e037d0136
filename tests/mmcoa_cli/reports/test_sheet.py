"""What a table of datasets looks like: on a terminal, in panels, and in the other formats."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import render
from mmcoa_cli.reports.rows import Row
from store.index import Index

OOD = catalog.tables()["ood"]
N = 1000
Add = Callable[..., Any]


def report(index: Index, *attacks: str, format: str = "table", width: int = 80, seeds: bool = False) -> str:
    return render(report_of(rows(index, OOD, attacks=attacks), OOD, seeds=seeds), format=format, width=width)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, add_to: Callable[[Index], Add]) -> Path:
    """An index with a line of zero-shot and two of trained models on all fifteen datasets."""
    path = tmp_path_factory.mktemp("fifteen") / "index.db"
    add = add_to(Index(f"sqlite:///{path}"))
    for place, dataset in enumerate(OOD.datasets):
        add("clip", {"multimodal": place}, dataset=dataset, n=N)
        for method in ("tecoa", "mmcoa"):
            add(method, {"multimodal": 100 + place}, source="imagenet", dataset=dataset, n=N, shots="5")
    return path


@pytest.fixture
def fifteen(written: Path, index: Index, tmp_path: Path) -> None:
    shutil.copyfile(written, tmp_path / "index.db")


def test_the_table_of_two_datasets(index: Index, add: Add) -> None:
    for dataset, correct in (("cifar10", 6100), ("cifar100", 2900)):
        add("mmcoa", {"multimodal": correct}, source="imagenet", dataset=dataset)
    assert report(index) == (
        "Tables II and III: trained on imagenet, tested on cifar10 and cifar100\n"
        "Robust accuracy under the multimodal attack, in percent\n"
        "\n"
        "trained on imagenet · ViT-B-32 · multimodal attack (Table II)\n"
        "seed 0\n"
        "image attack: L-inf, eps 1/255, alpha 1/255, 100 steps\n"
        "text attack: 1 word, aligned, masked LM bert-base-uncased\n"
        "\n"
        "                 cifar10  cifar100  average of 2\n"
        "────────────────────────────────────────────────\n"
        "  test images    10,000    10,000\n"
        "  pixels a side      32        32\n"
        "\n"
        "mmcoa, full       61.00     29.00         45.00\n"
        "  95%             ±0.96     ±0.90         ±0.65\n"
        "  paper           61.47‡    29.31‡        45.39‡\n"
        "\n"
        "±: the larger side of the 95% Wilson interval; both ends are in --format csv and\n"
        "json\n"
        "± of an average: the datasets' half widths, added in squares, over their number;\n"
        "it is about the choice of test images, not of datasets\n"
        "‡ the paper's text attack is that of its released code (--compat release); this\n"
        "one is aligned\n"
        "collisions: adversarial prompts whose new word is another class's name; none\n"
        "where the line is missing\n"
    )


def percents(row: Row) -> str:
    return f"{100 * row.value:.2f}"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200, 300])
def test_panels_never_break_a_percent_or_cut_a_name(index: Index, fifteen: None, width: int) -> None:
    text = report(index, width=width)
    assert "…" not in text
    found = re.findall(r"(?<![\d.±])\d{1,3}\.\d\d(?!\d)", text)
    assert set(map(percents, rows(index, OOD))) <= set(found)
    assert all(re.search(rf"\b{name}\b", text) for name in (*OOD.datasets, "average"))
    if width >= 40:
        assert max(map(len, text.splitlines())) <= width


def test_panels_repeat_the_lines_and_end_with_the_average(index: Index, fifteen: None) -> None:
    panels = re.split(r"\n\n(?= {10,}\w)", report(index, width=80))[1:]
    names = [panel.splitlines()[0].split() for panel in panels]
    assert [name for some in names for name in some] == [*OOD.datasets, "average"] and len(names) > 2
    for panel in panels:
        assert re.findall(r"^[a-z]+, \S+", panel, flags=re.MULTILINE) == [
            "clip, zero-shot",
            "tecoa, 5-shot",
            "mmcoa, 5-shot",
        ]
        assert panel.count("\n  test images ") == 1
    assert len(re.split(r"\n\n(?= {10,}\w)", report(index, width=200))) == 2


def test_lines_of_other_datasets_say_over_how_many_they_average(index: Index, fifteen: None, add: Add) -> None:
    add("mmcoa", {"multimodal": 500}, source="imagenet", dataset="dtd", n=N)
    add("mmcoa", {"multimodal": 300}, source="imagenet", dataset="stl10", n=N)
    text = report(index, width=300)
    assert re.search(r"caltech256 +average of\n", text)
    assert re.search(r"clip, zero-shot .* 15: 0\.70\n", text) and re.search(r"mmcoa, full .* 2: 40\.00\n", text)
    assert "averages over other datasets are not comparable" in text


def test_the_users_own_dataset_stays_out_of_the_average(index: Index, add: Add) -> None:
    for dataset, correct in (("cifar10", 1000), ("cifar100", 2000), ("birds", 9000)):
        add("clip", {"clean": correct}, dataset=dataset)
    text = report(index, "clean")
    assert re.search(r"cifar10 +cifar100 +average of 2 +birds\n", text) and "not in the average: birds" in text
    assert re.search(r"clip, zero-shot +10\.00 +20\.00 +15\.00 +90\.00\n", text)
    assert "Clean accuracy, in percent" in text and "clean (Table III)" in text


def test_a_part_of_a_dataset_is_marked_and_has_no_paper_number(index: Index, add: Add) -> None:
    add("clip", {"clean": 300}, dataset="dtd", n=400, part="400 of 1,880 test images, 10 of 47 classes")
    add("clip", {"clean": 9000}, dataset="cifar10")
    add("clip", {"clean": 30}, dataset="eurosat", n=40, partial=True)
    text = report(index, "clean", width=120)
    assert re.search(r"cifar10 +dtd\* +eurosat\* +average of 3\*\n", text)
    assert "dtd*: only a part of the dataset, 400 of 1,880 test images, 10 of 47 classes\n" in text
    assert "eurosat*: only a part of the dataset, some classes without any image\n" in text
    assert re.search(r"  paper +88\.\d\d +– +– +–\n", text)


def test_training_on_a_part_is_told_and_marked(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 9000}, source="imagenet", dataset="cifar10", train_part="10,000 of 100,000 training images")
    text = report(index, "clean")
    assert "trained on a part, 10,000 of 100,000 training images: mmcoa, full\n" in text
    assert re.search(r"paper +\d\d\.\d\d¶\n", text) and "¶ trained on a part of the paper's training images" in text


def test_subsets_are_told(index: Index, add: Add) -> None:
    add("clip", {"clean": 90}, dataset="cifar10", n=100, limit=100)
    assert "class-balanced subsets of up to 100 test images, seed 0\n" in report(index, "clean")


def test_means_over_seeds(index: Index, add: Add) -> None:
    for seed, (one, other) in enumerate(((1000, 2000), (2000, 3000), (3000, 4000))):
        add("mmcoa", {"clean": one}, source="imagenet", dataset="cifar10", seed=seed)
        add("mmcoa", {"clean": other}, source="imagenet", dataset="cifar100", seed=seed)
    text = report(index, "clean", seeds=True)
    assert re.search(r"mmcoa, full +20\.00 +30\.00 +25\.00\n +sd \(seeds\) +(±10\.00 \(3\) *){3}\n", text)
    assert "seeds 0, 1, 2" in text


def test_latex_has_as_many_cells_in_every_line(index: Index, fifteen: None) -> None:
    text = report(index, format="latex")
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {line.count(" & ") for line in lines} == {16} and len(lines) == 3 + 3 * 2
    assert r"\begin{tabular}{lrrrrrrrrrrrrrrrr}" in text and text.count(r"\resizebox{") == 1
    for word in (r"\begin{table*}", r"\end{table*}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}}"):
        assert text.count(word) == 1
    assert text.isascii() and text.count("{") == text.count("}")


def test_markdown(index: Index, fifteen: None) -> None:
    lines = [line for line in report(index, format="markdown").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {18}
    assert lines[0].startswith("| method | imagenet | cifar10 |") and lines[0].endswith("| average |")
