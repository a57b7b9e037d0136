"""The image encoder as torch compiles it, against the encoder as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcoa_cli.models import compiled
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.new_clip import new_clip

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
}
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled from the second step on; what a test compiled another one need not."""
    folder = tmp_path_factory.getbasetemp() / "compiled"
    monkeypatch.setenv(compiled.FOLDER, str(folder))
    for name, value in (("AFTER", 0.0), ("CALLS", 1), ("ROUNDS", 1)):
        monkeypatch.setattr(compiled, name, value)
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def clip() -> Clip:
    return new_clip(CONFIG, name="small", seed=0)


def steps(victim: Clip, images: Tensor = IMAGES, number: int = 3) -> list[Tensor]:
    """Gradients of the pixels, as one step after the other asks for them."""
    found = []
    for _ in range(number):
        x = images.clone().requires_grad_()
        found += torch.autograd.grad(victim.encode_images(x)[:, :5].sum(), x)
    return found


def taken(victim: Clip) -> dict[Any, Any]:
    """What is taken for each shape that was compared."""
    quick = victim._encode_image
    assert isinstance(quick, compiled.CompiledWhereItPays)
    return quick._taken


def test_compiled_it_gives_the_gradients_of_the_encoder_also_when_its_weights_changed(at_once: None) -> None:
    victim, plain = clip(), clip()
    encode = compiled.compiled_twin(victim.model.visual)
    victim._encode_image = encode
    torch.testing.assert_close(steps(victim)[0], steps(plain)[0], rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        for model in (victim, plain):
            for weight in model.model.visual.parameters():
                weight.mul_(1.1)
    torch.testing.assert_close(steps(victim)[0], steps(plain)[0], rtol=1e-4, atol=1e-7)
    loss = encode(IMAGES.clone().requires_grad_()).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None for weight in victim.model.visual.parameters())


def test_what_is_taken_after_the_comparison_is_right_and_is_told(
    at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    victim, expected = clip(), steps(clip())
    victim.compile_where_it_pays()
    with victim.pixels_alone():
        found = steps(victim)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    told = capsys.readouterr().err
    assert list(taken(victim)) == [IMAGES.shape]
    kept = taken(victim)[IMAGES.shape] is victim.model.visual
    assert ("no quicker, so it stays as it was" in told) == kept and ("of the time" in told) != kept


def test_whoever_asks_for_gradients_of_weights_or_for_none_has_the_encoder_as_it_is(at_once: None) -> None:
    victim = clip()
    victim.compile_where_it_pays()
    for _ in range(3):
        victim.encode_images(IMAGES.clone().requires_grad_()).sum().backward()
    assert all(weight.grad is not None for weight in victim.model.visual.parameters())
    with torch.no_grad(), victim.pixels_alone():
        victim.encode_images(IMAGES), victim.encode_images(IMAGES)
    assert not taken(victim)


def test_where_it_cannot_be_compiled_it_stays_and_says_why(
    at_once: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch._inductor.config as config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    victim, expected = clip(), steps(clip())
    victim.compile_where_it_pays()
    with victim.pixels_alone():
        assert all(map(torch.equal, steps(victim), expected))
    assert "the image encoder is not compiled: " in capsys.readouterr().err
    assert taken(victim)[IMAGES.shape] is victim.model.visual


def test_a_compiled_encoder_with_another_gradient_is_not_taken(
    at_once: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    victim, expected, other = clip(), steps(clip()), copy.deepcopy(clip().model.visual)
    with torch.no_grad():
        other.conv1.weight.mul_(2)
    monkeypatch.setattr(compiled, "compiled_twin", lambda encoder: other)
    monkeypatch.setattr(compiled, "_ratio", lambda *of: 0.5)
    victim.compile_where_it_pays()
    with victim.pixels_alone():
        assert all(map(torch.equal, steps(victim), expected))
    assert "another gradient, so it stays" in capsys.readouterr().err


def test_shapes_are_compared_each_when_they_took_long(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiled_twin", lambda encoder: encoder)
    monkeypatch.setattr(compiled, "CALLS", 3)
    victim = clip()
    victim.compile_where_it_pays()
    with victim.pixels_alone():
        for images, number in ((IMAGES, 2), (IMAGES[:1], 1), (IMAGES, 2), (IMAGES[:2], 1)):
            steps(victim, images, number)
        assert not taken(victim)
        steps(victim, IMAGES, 2)
    assert list(taken(victim)) == [IMAGES.shape]
