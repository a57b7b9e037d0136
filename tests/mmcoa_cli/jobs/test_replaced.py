"""A model, a dataset or a masked LM replaced under its name: earlier results are marked, and mixed with nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from transformers import AutoModelForMaskedLM

from mmcoa_cli import catalog
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.known import Known
from mmcoa_cli.models.current_digests import Present
from mmcoa_cli.plans.missing import lacking
from mmcoa_cli.reports.content import Report
from mmcoa_cli.reports.pivot import panels
from mmcoa_cli.reports.report import make_report
from mmcoa_cli.reports.rows import as_dicts
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors, save_checkpoint
from store.dataset_writing import DatasetWriter
from store.errors import UserError
from store.index import Index

from .conftest import evaluated

SPEC = evaluation_spec("vit", ("digits",), ("clean", "image", "text"), mlm="mlm", steps=1, limit=20)
Replace = Callable[[Home], None]


def model(home: Home, value: float = 1e-2) -> None:
    folder = home.clips / "vit"
    tensors = load_tensors(folder)
    tensors["visual.proj"] += value
    files = {name: (folder / name).read_text() for name in ("open_clip_config.json", "source.json")}
    save_checkpoint(folder, tensors=tensors, spec={}, files=files)


def masked_lm(home: Home) -> None:
    lm = AutoModelForMaskedLM.from_pretrained(home.mlms / "mlm", local_files_only=True)
    lm.config.num_attention_heads = 1
    for path in [*(home.mlms / "mlm").glob("*.safetensors"), home.mlms / "mlm" / "config.json"]:
        path.unlink()  # they are links
    lm.save_pretrained(home.mlms / "mlm")


def dataset(home: Home, name: str = "digits") -> None:
    path = home.datasets / f"{name}.h5"
    with open_dataset("digits", home) as old:
        info = old.info
        with DatasetWriter(
            path, name=name, class_names=info.class_names, pixel_size=info.pixel_size, resize=None,
            template=info.template, source="test", image_size=info.image_size,
        ) as writer:  # fmt: skip
            for split in info.splits:
                for image, label in zip(old.images(split, range(100)), old.labels(split), strict=False):
                    writer.add(split, 255 - image, int(label))


def report(home: Home) -> Report:
    return make_report(catalog.tables()["iid"], home, missing=lacking)


def lines(home: Home) -> dict[str, set[str]]:
    """The attacks of each line of the report, by its label."""
    found: dict[str, set[str]] = {}
    for section in report(home).panels:
        for line in section.lines:
            found.setdefault(line.label, set()).update(line.cells)
    return found


def left(home: Home) -> tuple[str, ...]:
    return missing(home, "digits")


def missing(home: Home, name: str) -> tuple[str, ...]:
    """The attacks under which the model was not tested on this dataset."""
    known = Known(home)
    return known.missing(known.zero_shot("vit", method="clip"), SPEC.changed(datasets=(name,)))


def measure(home: Home, **changes: Any) -> None:
    options = {name: value for name, value in vars(SPEC).items() if name != "options"}
    evaluated(evaluation_spec(**{**options, **SPEC.options, **changes}), home, Accelerator(cpu=True))


@pytest.mark.parametrize(
    ("replace", "flag", "attacks"),
    [
        (model, "earlier_weights", {"clean", "image", "text"}),
        (dataset, "earlier_data", {"clean", "image", "text"}),
        (masked_lm, "earlier_mlm", {"text"}),
    ],
)
def test_what_was_measured_before_is_marked_and_missing(
    home: Home, replace: Replace, flag: str, attacks: set[str]
) -> None:
    measure(home)
    assert not any(row.earlier for row in report(home).rows) and left(home) == ()
    replace(home)
    before = report(home)
    assert {row.attack for row in before.rows if getattr(row, flag)} == attacks
    assert {row.attack for row in before.rows if row.earlier} == attacks
    assert set(left(home)) == attacks
    assert attacks <= {entry["attack"] for entry in before.missing.entries()}
    measure(home)
    after = report(home).rows
    assert len(after) == 3 + len(attacks) and sum(getattr(row, flag) for row in after) == len(attacks)
    assert left(home) == ()
    assert as_dicts(after)[0][flag] in (True, False)


def test_the_same_images_under_another_name_have_results_of_that_name(home: Home) -> None:
    """Made from the same examples; those of the first name stay."""
    for name in ("one", "two"):
        dataset(home, name)
        assert missing(home, name) == SPEC.attacks
        measure(home, datasets=(name,))
    results = [result for _, result in Index(home.database_url).results()]  # of one second, in the order of their ids
    one, two = (
        sorted((r.examples, r.metric, r.value) for r in results if r.dataset == name) for name in ("one", "two")
    )
    assert one == two and one
    assert missing(home, "one") == missing(home, "two") == ()


def test_no_line_mixes_two_models_of_one_name(home: Home) -> None:
    measure(home)
    model(home)
    measure(home, attacks=("clean",))
    earlier = next(row.weights for row in report(home).rows if row.earlier_weights)
    assert lines(home) == {
        "clip, zero-shot": {"clean"},
        f"clip, zero-shot, of earlier weights {earlier[:8]}": {"clean", "image", "text"},
    }
    run = Index(home.database_url).run("clip-vit")
    assert run and run.weights != earlier


def test_over_seeds_no_mean_mixes_two_models_of_one_name(home: Home) -> None:
    for seed in (0, 1):
        measure(home, seed=seed, attacks=("clean",))
    model(home)
    measure(home, attacks=("clean",), seed=0)
    (section,) = panels(report(home).rows, table=catalog.tables()["iid"], seeds=True)
    counts = [len(line.cells["clean"]) for line in section.lines]
    assert counts == [1, 2]
    assert all(len({row.weights for row in line.cells["clean"]}) == 1 for line in section.lines)


def test_what_was_put_back_counts_again(home: Home) -> None:
    measure(home)
    kept = {path.name: path.read_bytes() for path in (home.clips / "vit").iterdir() if path.is_file()}
    model(home)
    measure(home)
    for name, content in kept.items():
        (home.clips / "vit" / name).unlink()
        (home.clips / "vit" / name).write_bytes(content)
    assert left(home) == ()
    assert sum(row.earlier_weights for row in report(home).rows) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_scored(home: Home, value: float) -> None:
    model(home, value)
    with pytest.raises(UserError, match=r"the model vit has weights that are not finite numbers \(visual.proj\)"):
        measure(home)
    assert Index(home.database_url).results() == []


def test_a_digest_of_files_is_that_of_the_loaded_model(home: Home) -> None:
    measure(home)
    ((_, one), *_) = Index(home.database_url).results()
    known = Present(home)
    assert one.weights == known.model("vit")


def test_a_missing_folder_marks_nothing(home: Home) -> None:
    measure(home, attacks=("clean",))
    (home.clips / "vit").rename(Path(home.root / "elsewhere"))
    assert not any(row.earlier for row in report(home).rows)
