"""The visual prompt: where its border and tokens are added, and that gradients go through them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.runs import run_of
from mmcoa_cli.models.victim import Wrapper, wrap
from mmcoa_cli.models.visual_prompt import VisualPrompt
from mmcoa_cli.models.wrappers import VisualPromptSettings
from mmcoa_cli.settings import Home
from store.checkpoints import load_spec, load_tensors
from store.errors import UserError
from store.index import Index


def prompted(clip: Clip, *, tokens: int = 0) -> VisualPrompt:
    wrapper = wrap("visual-prompt", clip, VisualPromptSettings(prompt_tokens=tokens), base="vit")
    assert isinstance(wrapper, VisualPrompt)
    wrapper.draw(seed=3)
    return wrapper


@pytest.mark.parametrize(("side", "width"), [(224, 30), (336, 45), (64, 9), (32, 4), (16, 2), (8, 1), (2, 1)])
def test_the_border_is_the_published_share_of_the_side(side: int, width: int) -> None:
    assert VisualPromptSettings().width(side) == width


@pytest.mark.parametrize("border", [0, -1, 112])
def test_a_border_that_is_none_is_an_error_in_words(border: int) -> None:
    with pytest.raises(UserError, match=f"-o border={border} is no border of 224 pixels"):
        VisualPromptSettings(border=border)


def test_what_the_encoder_takes_is_resized_normalised_and_then_bordered(clip: Clip) -> None:
    victim, images = prompted(clip), torch.rand(2, 3, 20, 20)
    side = clip.image_size
    moved = victim.encoder_input(images) - clip.encoder_input(images)
    width = VisualPromptSettings().width(side)
    inside = moved[..., width:-width, width:-width]
    assert torch.equal(inside, torch.zeros_like(inside))
    parts = {"up": moved[0, :, :width], "down": moved[0, :, -width:]}
    parts |= {"left": moved[0, :, width:-width, :width], "right": moved[0, :, width:-width, -width:]}
    for name, tensor in victim.tensors().items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-5, rtol=0)
    # never clipped: values of N(0, 1) on normalised pixels leave [0, 1] by far
    assert float((victim.encoder_input(images).detach() * clip.std + clip.mean).amin()) < -0.3


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_prompt_tokens_stand_behind_the_patches_without_a_position(clip: Clip) -> None:
    """Against the encoder's own layers, called one by one."""
    victim, images, visual = prompted(clip, tokens=3), torch.rand(2, 3, 16, 16), clip.model.visual
    patches = visual.conv1(victim.encoder_input(images)).flatten(2).transpose(1, 2)
    own = visual.class_embedding.expand(2, 1, -1)
    x = torch.cat([own, patches], dim=1) + visual.positional_embedding
    x = visual.transformer(visual.ln_pre(torch.cat([x, victim.tokens.expand(2, -1, -1)], dim=1)))
    torch.testing.assert_close(victim.image_features(images), visual.ln_post(x)[:, 0] @ visual.proj)
    plain = prompted(clip)
    plain.restore({name: tensor for name, tensor in victim.tensors().items() if name != "tokens"})
    before = clip.image_features(images)
    assert float((victim.image_features(images) - plain.image_features(images)).detach().abs().max()) > 1e-3
    assert torch.equal(clip.image_features(images), before)  # nothing of it stays in the encoder


@pytest.mark.parametrize("clip", ["resnet"], indirect=True)
def test_a_resnet_has_no_tokens(clip: Clip) -> None:
    with pytest.raises(UserError, match="image encoder of resnet is no vision transformer") as raised:
        prompted(clip, tokens=1)
    assert raised.value.hint == "-o prompt_tokens=0"


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_gradients_are_those_of_finite_differences(clip: Clip) -> None:
    """Of a loss through border and tokens: to the pixels, and to the prompt, along random directions, in double."""
    victim = prompted(clip, tokens=2).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64).requires_grad_()
    texts = F.normalize(torch.randn(3, 32, generator=generator, dtype=torch.float64), dim=1)
    values = [images, *(tensor for name, tensor in victim.named_parameters() if "inner" not in name)]

    def loss() -> Tensor:
        with victim.tokens_added():
            features = clip.model.encode_image(victim.encoder_input(images))  # which `input_features` makes single
        return F.cross_entropy(20 * F.normalize(features, dim=1) @ texts.T, torch.tensor([0, 2]))

    gradients, step = torch.autograd.grad(loss(), values), 1e-6
    for value, gradient in zip(values, gradients, strict=True):
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            value += step * direction
            above = loss()
            value -= 2 * step * direction
            difference = (above - loss()) / (2 * step)
            value += step * direction
        torch.testing.assert_close(difference, (gradient * direction).sum(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_it_is_drawn_by_the_seed(clip: Clip) -> None:
    victim, same = prompted(clip, tokens=10), prompted(clip, tokens=10)
    assert victim.digest() == same.digest()
    values = torch.cat([tensor.flatten() for tensor in victim.tensors().values()])
    assert abs(float(values.mean())) < 0.1 and abs(float(values.std()) - 1) < 0.1
    same.draw(seed=4)
    assert victim.digest() != same.digest()


def test_training_moves_the_prompt_alone_and_lowers_the_loss(home: Home) -> None:
    spec = train_spec(
        "vp", dataset="digits", shots="5", model="vit", epochs=8, batch_size=10, lr=3.0, steps=2, eps="2/255",
        warmup_steps=2, prompt_tokens=2,
    )  # fmt: skip
    run = train(spec, home, Accelerator(cpu=True))
    epochs = epochs_in(home.checkpoints / run.id)
    losses = [load_spec(epoch)["loss"] for epoch in epochs]
    assert losses[-1] < 0.8 * losses[0]
    assert set(load_tensors(epochs[-1])) == {"up", "down", "left", "right", "tokens"}
    victim = load_subject(run_of(run.id, home, Index(home.database_url)), home)
    assert isinstance(victim, Wrapper) and victim.digest() == run.weights
    assert sum(file.stat().st_size for file in Path(epochs[-1]).iterdir()) < 10_000


def test_its_row_is_as_published() -> None:
    spec = train_spec("vp")
    row = spec.optimization
    assert (row.name, row.lr, row.momentum, row.decay) == ("sgd", 40.0, 0.9, 0.0)
    assert (row.schedule, row.warmup_steps) == ("cosine", 1000)
    assert spec.wrapper_settings == VisualPromptSettings(border=30, prompt_tokens=0)
