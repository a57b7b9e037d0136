"""What stands in which table: what its grid names; in `report --task iid` and `ood` all that there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.rows import Row
from store.errors import UserError
from store.index import Index
from store.keys import key_of
from store.schema import Run

Add = Callable[..., Any]
EVERY = {"image": 5000, "text": 5000, "multimodal": 5000, "clean": 9000}


def shown(index: Index, name: str) -> list[Row]:
    return rows(index, catalog.tables()[name])


def runs(index: Index, name: str) -> set[str]:
    return {row.run for row in shown(index, name)}


def between(index: Index, run: Run, w: float) -> Run:
    """The results of a run once more, as those of a model on the way to it."""
    way = {"w": w, "towers": "both", "a": {"run": "clip-vit", "weights": ""}, "b": {"run": run.id, "weights": ""}}
    spec = json.dumps({"method": run.method, "interpolated": way, "told": f"w {w} from clip-vit", "setting": {"w": w}})
    made = replace(run, id=f"interpolated-{run.id[-8:]}-w{w}", kind="interpolated", spec=spec)
    index.save_run(made)
    for _, result in index.results(runs=[run.id]):
        setting, key = {**result.setting, "w": w}, key_of([result.evaluation, w])
        index.save_results([replace(result, evaluation=key, run_id=made.id, setting=setting)])
    return made


def test_an_attack_of_another_radius_stands_in_where_the_tables_own_never_ran(index: Index, add: Add) -> None:
    add("mmcoa", EVERY, eps="4/255")
    assert {(row.attack, row.eps) for row in shown(index, "table1")} == {
        ("image", "4/255"), ("multimodal", "4/255"), ("text", None), ("clean", None),
    }  # fmt: skip
    add("mmcoa", {"image": 5000})
    assert {row.eps for row in shown(index, "table1") if row.attack == "image"} == {"1/255"}


def test_runs_of_other_figures_are_no_lines_of_table_1(index: Index, add: Add) -> None:
    own = {add(method, EVERY).id for method in ("clip", "ft-standard", "tecoa", "mmcoa")}
    own |= {add("mmcoa", EVERY, training={"epochs": 3, "lr": 1e-4}).id}  # as its user has trained it
    others = [
        add("tecoa", EVERY, training={"tune": "image"}),
        add("mmcoa", EVERY, training={"image_weight": 1.0, "text_weight": 0.0}),
        add("mmcoa", EVERY, shots="5"),
    ]
    add("mmcoa", {"image": 4000}, eps="4/255")
    add("clip", {"clean": 9000}, dataset="stl10")
    assert runs(index, "table1") == own
    found = shown(index, "table1")
    assert {row.eps for row in found} == {"1/255", None} and {row.dataset for row in found} == {"cifar10"}
    every = shown(index, "iid")
    assert {row.run for row in every} == own | {run.id for run in others}
    assert {row.eps for row in every} == {"1/255", "4/255", None} and {row.dataset for row in every} >= {"stl10"}


def test_each_grid_has_its_own(index: Index, add: Add) -> None:
    alone = {"image_weight": 1.0, "text_weight": 0.0}
    whole, half, image = add("mmcoa", EVERY), add("mmcoa", EVERY, training=alone), add("tecoa", EVERY)
    assert runs(index, "table4") == {whole.id, half.id}
    assert runs(index, "table7") == {whole.id, image.id}
    multimodal = {"multimodal": 5000}
    of = {"source": "imagenet", "dataset": "cifar10"}
    tuned = add("tecoa", multimodal, training={"tune": "image"}, **of)
    full, standard = add("tecoa", multimodal, **of), add("ft-standard", multimodal, **of)
    assert runs(index, "fig5") == {tuned.id, full.id}
    drawn = report_of(shown(index, "fig5"), catalog.tables()["fig5"]).figure
    assert drawn and {series.method for series in drawn.series[0]} == {"tecoa"}
    assert runs(index, "table2") == {full.id, standard.id}
    assert runs(index, "ood") == {tuned.id, full.id, standard.id}


def test_strength_has_its_radii(index: Index, add: Add) -> None:
    for eps in ("1/255", "2/255", "4/255"):
        add("tecoa", {"image": 5000}, source="imagenet", eps=eps)
    assert {row.eps for row in shown(index, "fig6")} == {"1/255", "2/255", "4/255"}
    assert {row.eps for row in shown(index, "fig3")} == {"1/255"}


def test_what_stands_in_for_the_papers_is_shown(index: Index, add: Add) -> None:
    few, one = add("mmcoa", EVERY, dataset="digits", shots="5"), add("mmcoa", EVERY, dataset="digits", shots="1")
    add("clip", EVERY, dataset="digits")
    add("clip", EVERY, dataset="dtd")
    assert runs(index, "table1") == {few.id, "clip-ViT-B-32"} and one.id not in runs(index, "table1")
    assert {row.dataset for row in shown(index, "table1")} == {"digits"}
    own = add("mmcoa", EVERY)
    assert runs(index, "table1") == {own.id}  # the paper's own sources, where they are there
    assert runs(index, "iid") == {own.id, few.id, one.id, "clip-ViT-B-32"}


def test_nothing_is_an_error_that_says_so(index: Index, add: Add) -> None:
    add("ft-standard", EVERY)
    with pytest.raises(UserError, match="no result for task table7"):
        shown(index, "table7")


def test_models_between_two_stand_in_figure_8_alone(index: Index, add: Add) -> None:
    runs_of = {
        method: add(method, EVERY, source="imagenet", dataset="food101", training={"lr": 1e-5})
        for method in ("tecoa", "mmcoa")
    }
    made = [between(index, run, w) for run in runs_of.values() for w in (0.0, 0.5, 1.0)]
    trained = {run.id for run in runs_of.values()}
    assert runs(index, "fig8") == {run.id for run in made}
    assert runs(index, "fig4") == trained and runs(index, "ood") == trained | {run.id for run in made}
    assert all(row.paper is None for row in shown(index, "ood") if row.way)
    report = report_of(shown(index, "fig8"), catalog.tables()["fig8"])
    assert report.figure and report.figure.xs == [0.0, 0.5, 1.0] and report.figure.left_out == 0
    assert [panel.first.attack for panel in report.figure.panels] == ["image", "text", "multimodal", "clean"]
    lines = [(series.name, [*series.points]) for series in report.figure.series[0]]
    assert lines == [("tecoa", [0.0, 0.5, 1.0]), ("mmcoa", [0.0, 0.5, 1.0])]
    sheet = report.sheets()[0]
    assert sheet.columns == ["0.0", "0.5", "1.0"]
    assert [remark.partition(" to ")[0] for remark in sheet.remarks] == ["from clip-vit"] * 2


def test_epochs_stand_where_a_grid_has_them(index: Index, add: Add) -> None:
    run = add("tecoa", EVERY, source="imagenet", shots="50", training={"epochs": 3})
    for _, result in index.results(runs=[run.id]):
        early = {**result.setting, "epoch": 1}
        index.save_results([replace(result, evaluation=f"{result.evaluation[:38]}-1", setting=early)])
    assert {row.epoch for row in shown(index, "fig7")} == {1, 3}
    assert {row.epoch for row in shown(index, "fig3")} == {3}
