"""What a figure shows: which results, at which places, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import Report, report_of
from mmcoa_cli.reports.figure import Figure, caption
from mmcoa_cli.reports.reading import rows
from store.errors import UserError
from store.index import Index

FIG3, FIG4 = catalog.tables()["fig3"], catalog.tables()["fig4"]
TWO = ("cifar10", "cifar100")
Add = Callable[..., Any]


def report(index: Index, task: catalog.TableRow, *attacks: str, seeds: bool = False) -> Report:
    return report_of(rows(index, task, attacks=attacks), task, seeds=seeds)


def drawn(index: Index, task: catalog.TableRow, *attacks: str, seeds: bool = False) -> Figure:
    found = report(index, task, *attacks, seeds=seeds).figure
    assert found is not None
    return found


def said(index: Index, task: catalog.TableRow, *, seeds: bool = False) -> list[str]:
    return caption(drawn(index, task, seeds=seeds), report(index, task, seeds=seeds).sheets())


def on(add: Add, datasets: tuple[str, ...], method: str, correct: dict[str, int], **options: Any) -> None:
    for dataset in datasets:
        add(method, correct, source="imagenet", dataset=dataset, **options)


def test_averages_by_shots(index: Index, add: Add) -> None:
    on(add, TWO, "clip", {"image": 1000, "multimodal": 500})
    on(add, TWO, "mmcoa", {"image": 2000, "multimodal": 1500}, shots="5")
    on(add, TWO, "mmcoa", {"image": 4000, "multimodal": 3000})
    found = drawn(index, FIG3)
    assert [panel.first.attack for panel in found.panels] == ["image", "multimodal"]
    assert found.xs == ["0", "5", "full"] and found.panels[0].datasets == TWO
    clip, mmcoa = found.series[0]
    assert [(x, point.value) for x, point in clip.points.items()] == [("0", 0.1)]
    assert [(x, point.value) for x, point in mmcoa.points.items()] == [("5", 0.2), ("full", 0.4)]
    assert all(point.low < point.value < point.high for point in mmcoa.points.values())
    assert [point.paper for point in mmcoa.points.values()] == [None, None]  # Table II has the multimodal attack only
    assert found.series[1][1].points["full"].paper == pytest.approx((0.6147 + 0.2931) / 2)


def test_the_rows_behind_a_figure_have_its_averages(index: Index, add: Add) -> None:
    on(add, TWO, "mmcoa", {"image": 2000})
    found = drawn(index, FIG3)
    assert [row.dataset for row in found.rows] == ["cifar10", "cifar100", "average"]
    assert found.rows[-1].value == 0.2 and found.rows[-1].evaluation == ""


def test_averages_that_are_compared_are_over_the_same_datasets(index: Index, add: Add) -> None:
    on(add, (*TWO, "dtd", "stl10"), "clip", {"image": 1000})
    on(add, TWO, "mmcoa", {"image": 2000})
    on(add, TWO, "tecoa", {"image": 2000})
    on(add, ("dtd",), "ft-standard", {"image": 2000})
    found = drawn(index, FIG3)
    assert found.panels[0].datasets == TWO and found.left_out == 3
    assert [series.name for series in found.series[0]] == ["clip", "tecoa", "mmcoa"]
    assert any("3 results" in line for line in said(index, FIG3))


def test_one_picture_never_mixes_settings(index: Index, add: Add) -> None:
    on(add, TWO, "mmcoa", {"image": 2000, "text": 3000, "multimodal": 1000})
    on(add, TWO, "mmcoa", {"image": 1}, eps="4/255", shots="5")
    on(add, TWO, "mmcoa", {"image": 2}, seed=1, shots="5")
    on(add, TWO, "mmcoa", {"text": 3}, compat="release", shots="5")
    on(add, TWO, "clip", {"text": 3}, model="tiny-clip")
    found = drawn(index, FIG3)
    assert found.xs == ["full"] and found.left_out == 6  # another radius is of no figure of this one's
    assert [panel.first.attack for panel in found.panels] == ["image", "text", "multimodal"]


def test_the_papers_training_set_is_drawn_first(index: Index, add: Add) -> None:
    for source in ("tinyimagenet", "imagenet"):
        for dataset in TWO if source == "imagenet" else (*TWO, "stl10"):
            add("mmcoa", {"image": 2000}, source=source, dataset=dataset)
    assert {row.source for row in drawn(index, FIG3).rows} == {"imagenet"}


def test_series_of_one_method_are_told_apart(index: Index, add: Add) -> None:
    on(add, TWO, "mmcoa", {"image": 2000})
    on(add, TWO, "mmcoa", {"image": 3000}, training={"epochs": 3})
    on(add, TWO, "mmcoa", {"image": 3000}, run_seed=7)
    names = [series.name for series in drawn(index, FIG3).series[0]]
    assert names == [
        "mmcoa, training seed 0, the paper's settings", "mmcoa, training seed 7", "mmcoa, training seed 0, epochs 3",
    ]  # fmt: skip


def test_the_users_own_data_have_no_average(index: Index, add: Add) -> None:
    on(add, ("birds",), "mmcoa", {"image": 2000})
    with pytest.raises(UserError, match="an average over the paper's datasets") as caught:
        drawn(index, FIG3)
    assert "mmcoa evaluate" in caught.value.hint
    assert drawn(index, FIG4).xs == ["birds"]


def test_every_dataset_at_the_shots_of_most_results(index: Index, add: Add) -> None:
    on(add, TWO, "clip", {"image": 1000, "text": 1500})
    on(add, (*TWO, "zoo"), "mmcoa", {"image": 2000, "text": 2500}, shots="5")
    on(add, ("cifar10",), "tecoa", {"image": 3000}, shots="5")
    on(add, ("cifar10",), "tecoa", {"image": 3000})
    found = drawn(index, FIG4)
    assert found.panels[0].fields["shots"] == "5" and found.xs == ["cifar10", "cifar100", "zoo", "average"]
    clip, tecoa, mmcoa = found.series[0]
    assert list(mmcoa.points) == ["cifar10", "cifar100", "zoo", "average"]
    assert list(tecoa.points) == ["cifar10"]  # no average of fewer datasets than the others have
    assert clip.points["average"].value == pytest.approx(0.1)
    assert found.left_out == 1


def test_points_over_seeds_have_their_deviation(index: Index, add: Add) -> None:
    for seed, correct in enumerate((1000, 2000, 3000)):
        on(add, TWO, "mmcoa", {"image": correct}, seed=seed)
    (point,) = drawn(index, FIG3, seeds=True).series[0][0].points.values()
    assert point.bar == pytest.approx((0.1, 0.2, 0.3))
    assert "bars: the standard deviation over seeds" in said(index, FIG3, seeds=True)


def test_the_caption_tells_stand_ins_parts_and_marks(index: Index, add: Add) -> None:
    on(
        add,
        TWO,
        "mmcoa",
        {"multimodal": 2000},
        model="tiny",
        origin="stand-in",
        part="9 of 10 classes",
        train_part="5 of 9",
    )
    lines = said(index, FIG3)
    assert lines[:2] == [
        "trained on imagenet · tiny (a stand-in model)", "averages of 2 datasets (cifar10, cifar100), seed 0",
    ]  # fmt: skip
    assert "cifar100*: only a part of the dataset, 9 of 10 classes" in lines
    assert "trained on a part, 5 of 9: mmcoa" in lines
    assert "hollow" not in "".join(lines)  # the paper has no number for a part
