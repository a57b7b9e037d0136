"""A name of another kind, or off by a letter: the hint says what can be typed, before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcoa_cli.datasets.library import absent
from mmcoa_cli.inventory import fetch
from mmcoa_cli.models.library import ensure_clip, ensure_mlm
from mmcoa_cli.models.runs import find_run, require_known
from mmcoa_cli.settings import Home
from store.errors import UserError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A store with a dataset, a model, a masked LM and a run's weights, of which only the names count."""
    home = Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}")
    for folder in (home.clips / "my-clip", home.mlms / "my-bert", home.checkpoints / "tecoa-birds-1", home.datasets):
        folder.mkdir(parents=True)
    (home.datasets / "birds.h5").touch()
    return home


def hint_of(error: pytest.ExceptionInfo[UserError]) -> str:
    return error.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("birds", "birds is a dataset: --dataset birds"),
        ("cifar10", "cifar10 is a dataset: --dataset cifar10"),
        ("my-bert", "my-bert is a masked LM: --mlm my-bert"),
        ("my-clp", "did you mean my-clip?"),
        ("My-Clip", "did you mean my-clip?"),
        ("vit-b-32", "did you mean ViT-B-32?"),
        (
            "ViT-H-14",
            "ViT-H-14 is an architecture, and ViT-H-14:laion2b_s32b_b79k a model of it (or ViT-H-14:metaclip_fullcc, "
            "ViT-H-14:metaclip_altogether, ViT-H-14:dfn5b): mmcoa fetch ViT-H-14:laion2b_s32b_b79k",
        ),
        (
            "ViT-B-16-SigLIP",
            "ViT-B-16-SigLIP is an architecture, and ViT-B-16-SigLIP:webli a model of it: "
            "mmcoa fetch ViT-B-16-SigLIP:webli",
        ),
        (
            "ViT-S-16",
            "ViT-S-16 is an architecture without published weights: mmcoa fetch NAME --from FILE --arch ViT-S-16",
        ),
    ],
)
def test_what_is_no_model(home: Home, name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"there is no model called '{name}'") as caught:
        ensure_clip(name, home)
    assert hint_of(caught) == hint
    with pytest.raises(UserError, match=f"there is no run or model called '{name}'") as caught:
        find_run(name, home)
    assert hint_of(caught) == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my-clip", "my-clip is a model: --checkpoint my-clip"),
        ("tecoa-birds-1", "tecoa-birds-1 is a run: --checkpoint tecoa-birds-1"),
        ("CIFAR10", "did you mean cifar10? a dataset of your own: mmcoa fetch CIFAR10 --from PATH"),
        ("bird", "did you mean birds? a dataset of your own: mmcoa fetch bird --from PATH"),
        ("xyz", "a dataset of your own: mmcoa fetch xyz --from PATH"),
    ],
)
def test_what_is_no_dataset(home: Home, name: str, hint: str) -> None:
    assert absent(name, home).hint == hint


def test_a_model_is_no_masked_lm(home: Home) -> None:
    with pytest.raises(UserError, match="there is no masked LM called 'my-clip'") as caught:
        ensure_mlm("my-clip", home)
    assert hint_of(caught) == "my-clip is a model: --checkpoint my-clip"


def test_an_architecture_is_fetched_as_a_model(home: Home) -> None:
    with pytest.raises(UserError, match="there is no model called 'ViT-L-14'") as caught:
        fetch("ViT-L-14", home)
    assert "mmcoa fetch ViT-L-14:openai" in hint_of(caught)


def test_a_known_name_is_not_fetched_to_be_known(home: Home) -> None:
    require_known("ViT-B-32", home)
    assert not (home.clips / "ViT-B-32").exists()
