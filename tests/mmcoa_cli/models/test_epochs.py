"""A run's epochs on disk."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from mmcoa_cli.models.clip import Clip, load_clip
from mmcoa_cli.models.epochs import epochs_in, resume, save_epoch


def steps(clip: Clip, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    """One step for each seed, on random images and two prompts."""
    for seed in seeds:
        images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        image_features, text_features, tau = clip(images, clip.tokenize(["a cat", "a dog"]))
        optimizer.zero_grad()
        (tau * image_features @ text_features.T).logsumexp(dim=1).mean().backward()
        optimizer.step()


def adam(clip: Clip) -> torch.optim.Optimizer:
    return torch.optim.Adam(clip.parameters(), lr=1e-3, weight_decay=0.2)


def test_going_on_gives_the_weights_of_going_through(clip: Clip, tmp_path: Path) -> None:
    other = copy.deepcopy(clip, {id(clip.tokenizer): clip.tokenizer})
    through, after = adam(clip), adam(other)
    steps(clip, through, range(3))
    save_epoch(tmp_path / "run", clip, through, epoch=1, spec={"loss": 1.0})
    steps(clip, through, range(3, 6))
    assert resume(tmp_path / "run", other, after, epochs=2) == 1
    steps(other, after, range(3, 6))
    for name, tensor in clip.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name


def test_nothing_to_go_on_from(clip: Clip, tmp_path: Path) -> None:
    assert resume(tmp_path / "run", clip, adam(clip), epochs=2) == 0
    assert epochs_in(tmp_path / "run") == []


def test_a_run_of_a_thousand_epochs(tmp_path: Path) -> None:
    for epoch in (998, 999, 1000):
        (tmp_path / f"epoch-{epoch:03d}").mkdir()
    assert [folder.name for folder in epochs_in(tmp_path)] == ["epoch-998", "epoch-999", "epoch-1000"]


def test_what_a_kill_leaves_is_no_epoch(tmp_path: Path) -> None:
    for name in (".epoch-002.partial", ".epoch-001.old", "epoch-001"):
        (tmp_path / name).mkdir()
    assert [folder.name for folder in epochs_in(tmp_path)] == ["epoch-001"]


def test_every_epoch_is_a_model_that_open_clip_loads(clip: Clip, tmp_path: Path) -> None:
    save_epoch(tmp_path / "run", clip, adam(clip), epoch=1, spec={})
    (folder,) = epochs_in(tmp_path / "run")
    loaded = load_clip(folder, name=clip.name)
    assert loaded.digest() == clip.digest()
    assert loaded.origin.kind == clip.origin.kind
