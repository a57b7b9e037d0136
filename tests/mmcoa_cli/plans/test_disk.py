"""What `train` and `fetch` say beforehand that they will take of the disk."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mmcoa_cli.inventory import tell_needs_of
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Start
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.runs import zero_shot_run
from mmcoa_cli.plans import typed_jobs
from mmcoa_cli.plans.disk import of_checkpoints, of_images_before, of_sample, of_test, tell_disk, written_by
from mmcoa_cli.plans.selection import look_up
from mmcoa_cli.plans.speed import images_of
from mmcoa_cli.plans.typed_jobs import training_jobs
from mmcoa_cli.settings import Home
from store.example_packing import pack
from store.index import Index

LINE = re.compile(r"needs about ([^:;]+)(?:: (.+))?; (only )?[\d.,]+ [MG]B free")
VIT = 605_143_316  # bytes of its weights


@pytest.fixture
def nowhere(tmp_path: Path) -> Home:
    return Home(tmp_path / "none", f"sqlite:///{tmp_path / 'none' / 'index.db'}")


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, str]]:
    """The sum, and each part by its name; none where there is one alone."""
    whole, parts, _ = LINE.search(" ".join(capsys.readouterr().err.split())).groups()  # type: ignore[union-attr]
    return whole, dict(re.findall(r"([^,;]*?) ([\d.,]+ .B)(?:, |$)", parts or ""))


@pytest.mark.parametrize(("keep", "weights"), [(1, VIT), (None, 12 * VIT), (2, 4 * VIT)])
def test_a_run_takes_the_epochs_that_it_keeps(
    nowhere: Home, capsys: pytest.CaptureFixture[str], keep: int | None, weights: int
) -> None:
    """Of several, the optimizer's state stays, too: twice the weights. All ten epochs of ViT-B-32 are 7.3 GB."""
    tell_disk(
        written_by(training_jobs([train_spec("tecoa", dataset="cifar100", shots="5")], keep=keep), nowhere), nowhere
    )
    _, parts = said(capsys)
    assert parts["checkpoints"] == (f"{-(-weights // 10**6)} MB" if weights < 1e9 else f"{weights / 1e9:,.1f} GB")
    assert parts["models"] == "606 MB"  # which is not here: tecoa takes no words


def test_its_test_is_in_it_and_a_grid_is_summed(nowhere: Home, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train_spec("mmcoa", dataset="cifar100", shots="5", seed=seed) for seed in (0, 1)]
    tell_disk(written_by(training_jobs(runs, test={}), nowhere), nowhere)
    _, parts = said(capsys)
    assert parts["checkpoints"] == "1.2 GB"
    assert parts["models"] == "1.0 GB"  # with the masked LM, once for both
    images = 2 * 10_000 * 3 * 32 * 32 / 8 / 1e6  # of one attack, whose images another shows, in MB
    assert images < float(parts["examples"].split()[0]) < 1.6 * images


def test_nothing_is_said_where_nothing_trains_or_is_known(nowhere: Home, capsys: pytest.CaptureFixture[str]) -> None:
    tell_disk(written_by(training_jobs([train_spec("tecoa", dataset="nobodys")], test={}), nowhere), nowhere)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("eps", "low", "high"), [("1/255", 6.6, 24.5), ("4/255", 6.6, 24.5), ("8/255", 48.8, 68.3)])
def test_an_image_takes_what_real_ones_took(nowhere: Home, eps: str, low: float, high: float) -> None:
    """kB of an image of 224 pixels, as they were measured of PGD on ViT-B-32."""
    data = look_up("imagenet", nowhere)
    assert data
    assert low * 1000 < of_sample(evaluation_spec("", ("imagenet",), ("image",), eps=eps), "image", data) < high * 1000


@pytest.mark.parametrize(("eps", "inside"), [("1/255", 0.05), ("4/255", 0.03), ("8/255", 0.5)])
def test_an_image_takes_no_more_than_is_said(nowhere: Home, eps: str, inside: float) -> None:
    """Packed, one whose values ended at random at either end of the ball, but for a share of them."""
    data = look_up("cifar10", nowhere)
    assert data and data.pixel_size == 32 and images_of(train_spec("tecoa", dataset="cifar10", shots="5"), data) == 50
    expected = of_sample(evaluation_spec("", ("cifar10",), ("image",), eps=eps), "image", data)
    draw, most = np.random.default_rng(0), int(eps.split("/")[0])
    clean = draw.integers(most, 256 - most, size=(32, 32, 3), dtype=np.uint8)
    moved = most * draw.choice([-1, 1], size=(3, 32, 32))
    between = draw.integers(-most, most + 1, size=(3, 32, 32))
    levels = clean.transpose(2, 0, 1) + np.where(draw.random((3, 32, 32)) < inside, between, moved)
    packed = pack((levels.astype(np.float32) / np.float32(255)), clean)
    assert 0.6 * expected < len(packed) < 1.3 * expected


@pytest.mark.parametrize(("pixel_size", "most"), [(None, 1.2), (48, 2.0)])
def test_examples_take_what_is_said(home: Home, pixel_size: int | None, most: float) -> None:
    """Images that were enlarged six times are smoother than real ones, and so are their attacks: they take less."""
    digits = look_up("digits", home)
    spec = evaluation_spec("vit", ("digits",), ("clean", "image"), limit=100, steps=10, pixel_size=pixel_size)
    typed_jobs.evaluate([spec], Start())
    there = sum(path.stat().st_size for path in home.examples.glob("*.h5"))
    assert digits and 0.8 * there < of_test(spec, digits, attacks=spec.attacks) < most * there
    assert of_test(spec, digits, attacks=()) == 0


def test_images_that_are_attacked_before_the_first_epoch(nowhere: Home) -> None:
    """advpt: a set of two images of each class; its weights are a prompt. Other methods attack none before."""
    data = look_up("digits", nowhere)
    spec = train_spec("advpt", dataset="digits", shots="2", epochs=1, offline_steps=5)
    assert data and of_images_before(spec, data) > 20_000 and of_checkpoints(spec, nowhere, keep=1) <= 1e6
    assert of_images_before(train_spec("tecoa", dataset="digits", shots="2"), data) == 0


def test_fetch_counts_what_is_not_here(nowhere: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tell_needs_of(["cifar10", "cifar100"], nowhere, source=None, replace=False)
    whole, parts = said(capsys)
    assert (whole, parts) == ("510 MB", {"what stays": "340 MB", "a download until it is read": "171 MB"})
    (tmp_path / "birds.zip").write_bytes(bytes(3_000_000))
    tell_needs_of(["birds"], nowhere, source=tmp_path / "birds.zip", replace=False)
    assert said(capsys) == ("3 MB", {})
    nowhere.datasets.mkdir(parents=True)
    (nowhere.datasets / "cifar10.h5").touch()
    tell_needs_of(["cifar10"], nowhere, source=None, replace=False)
    assert capsys.readouterr().err == ""
    tell_needs_of(["cifar10"], nowhere, source=None, replace=True)
    assert said(capsys)[0] == "341 MB"


def test_what_a_complete_run_still_needs_is_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Its test alone is left, of a model that has a name only when the run has been looked up."""
    spec = train_spec("clip", dataset="digits", model="vit", mlm="mlm")
    zero_shot_run("vit", home, Index(home.database_url), method="clip")
    tell_disk(written_by(training_jobs([spec], test={}), home), home)
    assert "needs about" in capsys.readouterr().err
