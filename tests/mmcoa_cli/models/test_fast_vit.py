"""The quicker image encoder against open_clip's own, computed by open_clip's own classes: values and gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import open_clip
import pytest
import torch
from open_clip import transformer
from torch import Tensor, nn

from mmcoa_cli.models import fast_vit
from mmcoa_cli.models.api_model import evaluating
from mmcoa_cli.models.fast_vit import quicken
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.victim import wrap
from mmcoa_cli.models.wrappers import VisualPromptSettings
from store.errors import UserError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
BASE = {"image_size": 32, "layers": 3, "width": 48, "head_width": 16, "patch_size": 8}
VISION: dict[str, dict[str, Any]] = {  # of the shapes of published models, smaller
    "ViT-B-32": {},
    "quick": {"quick_gelu": True},
    "ViT-L-14": {"image_size": 42, "patch_size": 14, "layers": 2},
    "336 pixels": {"image_size": 56, "patch_size": 4},
    "one block": {"layers": 1},
    "layer scale": {"ls_init_value": 0.3},
    "no norm before": {"no_ln_pre": True},
    "norm behind the pool": {"final_ln_after_pool": True},
    "sines": {"pos_embed_type": "sin_cos_2d"},
    "mean of the tokens": {"pool_type": "avg"},
    "attentional pool": {"attentional_pool": True, "attn_pooler_heads": 2},
    "own attention": {"qk_norm": True},
    "a rest of the side": {"image_size": 35},
}
LESS = ("mean of the tokens", "attentional pool", "own attention")  # of which every token counts, or no block is plain


def towers(kind: str) -> tuple[nn.Module, nn.Module]:
    """open_clip's, and a copy that was made quicker."""
    torch.manual_seed(0)
    settings = {**BASE, **VISION[kind]}
    quick = settings.pop("quick_gelu", False)
    plain = open_clip.CLIP(32, settings, TEXT, quick_gelu=quick).visual.eval()
    with torch.no_grad():
        for weight in plain.parameters():
            weight.add_(0.05 * torch.randn_like(weight))  # biases begin at 0, norms at 1
    fast = copy.deepcopy(plain)
    quicken(fast)
    return plain, fast


def found(tower: nn.Module, images: Tensor) -> list[Tensor]:
    """Features, and the gradients of a number that each of them counts in: of the pixels, then of each weight."""
    images = images.clone().requires_grad_()
    features = tower(images)
    features = features[0] if isinstance(features, tuple) else features
    number = (features * torch.linspace(-1, 1, features.numel(), dtype=images.dtype).view_as(features)).sum()
    weights = [weight for weight in tower.parameters() if weight.requires_grad]
    return [features, *torch.autograd.grad(number, [images, *weights])]


def greatest(tensor: Tensor) -> float:
    """Its greatest value, at least 1: a gradient is a sum of many terms, which round as the greatest do."""
    return max(1.0, float(tensor.detach().abs().max()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("kind", VISION)
def test_it_computes_what_open_clip_computes(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    plain, fast = (tower.to(dtype) for tower in towers(kind))
    assert type(plain) is transformer.VisionTransformer
    side = VISION[kind].get("image_size", 32)
    images = torch.rand(3, 3, side, side, dtype=dtype)
    for theirs, ours in zip(found(plain, images), found(fast, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * greatest(theirs))


@contextmanager
def as_published(tower: nn.Module) -> Iterator[None]:
    """Inside, an image encoder is computed by open_clip's own classes."""
    quick = [(part, type(part)) for part in tower.modules() if type(part).__module__ == fast_vit.__name__]
    for part, its_class in quick:
        part.__class__ = its_class.__base__  # type: ignore[assignment]
    try:
        yield
    finally:
        for part, its_class in quick:
            part.__class__ = its_class


@pytest.mark.parametrize("kind", VISION)
def test_what_is_quicker(kind: str) -> None:
    """Attention and patches wherever they are plain, the last block where only its first token counts; all by the names
    that open_clip has for them."""
    plain, fast = towers(kind)
    assert (type(fast) is not transformer.VisionTransformer) == (kind not in LESS)
    assert type(fast.conv1) is not nn.Conv2d
    kinds = {type(block.attn) for block in fast.transformer.resblocks}  # type: ignore[union-attr]
    assert (kinds != {nn.MultiheadAttention}) and len(kinds) == 1
    assert [type(part).__name__ for part in fast.modules()] == [type(part).__name__ for part in plain.modules()]
    assert [*fast.state_dict()] == [*plain.state_dict()]
    quick = [type(part) for part in fast.modules()]
    with as_published(fast):
        assert [type(part) for part in fast.modules()] == [type(part) for part in plain.modules()]
    assert [type(part) for part in fast.modules()] == quick


def test_every_other_image_encoder_stays() -> None:
    resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    timm = {"timm_model_name": "resnet18", "image_size": 32, "timm_model_pretrained": False}
    for vision in (resnet, timm):
        tower = open_clip.CLIP(32, vision, TEXT).visual
        kinds = [type(part) for part in tower.modules()]
        quicken(tower)
        assert [type(part) for part in tower.modules()] == kinds


def test_all_that_a_block_says_of_every_token_is_still_there() -> None:
    """What else open_clip does with an encoder: every token of every block."""
    plain, fast = towers("ViT-B-32")
    images = torch.rand(2, 3, 32, 32)
    theirs, ours = (tower.forward_intermediates(images) for tower in (plain, fast))  # type: ignore[operator]
    assert [*ours] == [*theirs]
    for one, other in zip(ours["image_intermediates"], theirs["image_intermediates"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_checkpointed_blocks_have_the_same_gradients() -> None:
    plain, fast = towers("ViT-B-32")
    fast.set_grad_checkpointing(True)  # type: ignore[operator]
    images = torch.rand(2, 3, 32, 32)
    for theirs, ours in zip(found(plain, images), found(fast, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-6 * greatest(theirs))


def test_a_prompt_goes_through_it() -> None:
    """Border and tokens, whose hook is at the norm before the blocks, with the plain encoder and with this one."""
    vision = {**BASE, "image_size": 32}
    clip = new_clip({"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}, name="vit", seed=0)
    images, features = torch.rand(2, 3, 40, 40), []
    victim = wrap("visual-prompt", clip, VisualPromptSettings(prompt_tokens=3), base="vit")
    victim.draw(seed=0)
    for way in (nullcontext(), as_published(clip.model.visual)):
        with way:
            victim.zero_grad()
            found = victim.image_features(images)
            found.square().sum().backward()
            features.append(
                [found.detach(), *(tensor.grad.clone() for tensor in victim.parameters() if tensor.requires_grad)]
            )
    assert len(features[0]) == 6
    for ours, theirs in zip(*features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-6 * greatest(theirs))


def test_someone_elses_model_comes_back_as_it_was() -> None:
    model = open_clip.CLIP(32, BASE, TEXT)
    open_clip.model.set_model_preprocess_cfg(model, {"size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)})
    kinds = [type(part) for part in model.modules()]
    with evaluating(model, open_clip.SimpleTokenizer(context_length=16)) as victim:
        assert type(victim.clip.model.visual) is not transformer.VisionTransformer
    assert [type(part) for part in model.modules()] == kinds


def test_someone_elses_model_that_cannot_be_attacked_stays_as_it_was() -> None:
    model = open_clip.CLIP(32, BASE, TEXT).train()
    size = {"size": (32, 16), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    open_clip.model.set_model_preprocess_cfg(model, size)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    with pytest.raises(UserError, match="takes images of 32 x 16 pixels"), evaluating(model, tokenizer):
        pass
    assert all(part.training for part in model.modules())
