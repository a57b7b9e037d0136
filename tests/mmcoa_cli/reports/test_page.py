"""The HTML page: whole in itself, nothing in it runs, and every text from elsewhere stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.plans.missing import lacking
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.page import page, part_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import make_report, render
from mmcoa_cli.settings import Home
from store.index import Index

Add = Callable[..., Any]
TASKS = [catalog.tables()[name] for name in ("iid", "ood", "fig3", "fig4")]
RUNS_OR_LOADS = {"script", "link", "iframe", "object", "embed", "form", "base", "audio", "video"}


class Page(HTMLParser):
    """Which tags a page has, the cells of its tables' rows, what its tags refer to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[list[str]] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1] in ("td", "th", "mark"):
            self.cells[-1][-1] += data


@pytest.fixture
def fifteen(index: Index, add: Add) -> None:
    for dataset in catalog.tables()["ood"].datasets:
        add("clip", {"multimodal": 10, "image": 11, "text": 12}, dataset=dataset)
        add("mmcoa", {"multimodal": 20, "image": 21, "text": 22}, source="imagenet", dataset=dataset, shots="5")


@pytest.mark.usefixtures("fifteen")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_page_needs_nothing_but_itself(index: Index, task: catalog.TableRow) -> None:
    text = render(report_of(rows(index, task), task), format="html")
    found = Page(text)
    assert not RUNS_OR_LOADS & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    refers = [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "data", "action")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in refers)
    assert not re.search(r"url\((?!['\"]?#)|@import", text)
    assert found.tags.count("svg") == bool(task.picture)


@pytest.mark.usefixtures("fifteen")
def test_its_tables_are_those_of_the_report(index: Index) -> None:
    task = catalog.tables()["ood"]
    found = Page(render(report_of(rows(index, task), task), format="html"))
    assert [cell.strip() for cell in found.cells[0]] == ["method", *task.datasets, "average"]
    origins = [cells for cells in found.cells if len(cells) != 17]
    assert len(origins) == 1 + 2 * len(task.datasets)
    assert origins[0][:4] == ["run", "dataset", "attack", "metric"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_hostile_names_are_text(index: Index, add: Add, task: catalog.TableRow) -> None:
    hostile = "<script>alert('&')</script>"
    for model, dataset in (("x", hostile), (hostile, "cifar10"), ("x", "cifar10")):
        part = f"{hostile}\x1b[31m"  # of the specification; the index refuses a name like this
        add("clip", {"image": 100, "text": 100, "multimodal": 100}, model=model, dataset=dataset, part=part)
    text = render(report_of(rows(index, task), task), format="html")
    found = Page(text)
    assert "script" not in found.tags and hostile in found.text and "\x1b" not in text


def test_several_reports_have_contents_and_one_title_each(index: Index, add: Add) -> None:
    add("clip", {"image": 100, "text": 100, "multimodal": 100})
    parts = [part_of(report_of(rows(index, task), task)) for task in TASKS[:2]]
    found = Page(page(parts, title="All"))
    assert [value for name, value in found.attributes if name == "href"] == ["#iid", "#ood"]
    assert {"iid", "ood"} <= {value for name, value in found.attributes if name == "id"}
    assert (found.tags.count("h1"), found.tags.count("h2"), found.tags.count("nav")) == (1, 2, 1)
    assert Page(page(parts[:1], title="One")).tags.count("nav") == 0


def test_what_attacks_did_is_shown_where_the_store_has_it(attacked: Home) -> None:
    report = make_report(catalog.tables()["iid"], attacked, missing=lacking)
    found = Page(render(report, format="html", home=attacked))
    images = [value for name, value in found.attributes if name == "src"]
    assert len(images) == 3 * 4 and all(image.startswith("data:image/png;base64,") for image in images)
    assert "cat: seen as cat 91%, then as dog 78%; change ≤ 0.7/255, enlarged 182 times" in found.text
    assert found.tags.count("mark") == 1
    prompts = [[cell.strip() for cell in cells] for cells in found.cells if len(cells) == 3]
    assert prompts == [["class", "clean", "adversarial"], ["dog", "a dog", "a wolf"]]
    assert "mmcoa evaluate --checkpoint mmcoa-pets-1 --dataset pets --attack" in found.text  # what is missing
    for path in attacked.examples.glob("*.h5"):
        path.unlink()
    assert "img" not in Page(render(report, format="html", home=attacked)).tags


def test_a_page_is_a_file_that_is_written_whole(attacked: Home, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mmcoa_cli.app import app

    ended = CliRunner().invoke(app, ["report", "--output", str(tmp_path / "page.html")])
    assert ended.exit_code == 0
    assert "data:image/png" in (tmp_path / "page.html").read_text(encoding="utf8")
