"""Published architectures by their names: how large they are, without memory for them; and a small SigLIP, which has
no class token, a bias of its logits, no causal mask and a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import cross_entropy

from mmcoa_cli.api import attack
from mmcoa_cli.models.architectures import build, shapes_of
from mmcoa_cli.models.clip import load_clip
from mmcoa_cli.models.digests import CLIP_CONFIG
from mmcoa_cli.models.intake import CLIP_WEIGHTS
from mmcoa_cli.models.texts import tower_of
from mmcoa_cli.models.token_rows import are_cut, require_distinct_prompts
from store.errors import UserError

SIZES = {  # millions of parameters, as open_clip's table of models has them
    "ViT-B-32": 151.28, "ViT-L-14": 427.62, "ViT-H-14": 986.11, "ViT-B-16-SigLIP": 203.16,
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_model_is_as_large_as_it_was_published(name: str) -> None:
    config = {"model_cfg": open_clip.get_model_config(name)}
    shapes = shapes_of(config, name=name)
    weights = 0
    for shape in shapes.values():
        size = 1
        for side in shape:
            size *= side
        weights += size
    assert weights / 1e6 == pytest.approx(SIZES[name], rel=0.001)


SIGLIP: dict[str, Any] = {  # a small one: timm's encoder with pooling by attention, and a tokenizer in files of its own
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {
        "context_length": 16, "vocab_size": 64, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 96, "heads": 2, "layers": 2, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-06},
    },
}  # fmt: skip
HALF = [0.5, 0.5, 0.5]
SQUASHED = {"mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash"}
TEXTS = ["This is a photo of a cat", "a dog", "A Photo, of: a DOG!", "", "photo " * 40]


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip local folder."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    model = build({"model_cfg": SIGLIP})
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / CLIP_WEIGHTS)
    (folder / CLIP_CONFIG).write_text(json.dumps({"model_cfg": SIGLIP, "preprocess_cfg": SQUASHED}))
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    """T5's kind: pieces of words, each with its probability."""
    words = ("this", "is", "a", "photo", "of", "cat", "dog")
    pieces = ["</s>", "<unk>", *(f"▁{word}" for word in words), "▁", *ascii_lowercase]
    unigram = Tokenizer(Unigram([(piece, -float(rank)) for rank, piece in enumerate(pieces)], unk_id=1))
    unigram.pre_tokenizer = Metaspace()
    unigram.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    unigram.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def test_siglip_is_that_of_open_clip(siglip: Path) -> None:
    clip, place = load_clip(siglip, name="siglip"), f"local-dir:{siglip}"
    theirs, _, preprocess = open_clip.create_model_and_transforms(place)
    theirs.eval()
    pixels = torch.randint(256, (3, 160, 160, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    inputs = torch.stack([preprocess(Image.fromarray(one.numpy())) for one in pixels])
    tokens = open_clip.get_tokenizer(place)(TEXTS)
    with torch.no_grad():
        images, texts = theirs.encode_image(inputs, normalize=True), theirs.encode_text(tokens, normalize=True)
        logits, _ = theirs.get_logits(inputs, tokens)
    ours = clip.encode_images(pixels.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(ours, images, rtol=0, atol=1e-6)
    torch.testing.assert_close(clip.encode_texts(clip.tokenize(TEXTS)), texts, rtol=0, atol=1e-6)
    torch.testing.assert_close(clip.embed_texts(TEXTS), texts, rtol=0, atol=1e-6)
    scores = clip.scale * ours @ clip.embed_texts(TEXTS).T  # without the bias, which a softmax over classes is blind to
    torch.testing.assert_close(logits - scores, torch.full_like(scores, -10), rtol=0, atol=1e-4)
    torch.testing.assert_close(scores.softmax(dim=1), logits.softmax(dim=1), rtol=0, atol=1e-5)


def test_of_siglip_s_texts_padding_is_a_part(siglip: Path) -> None:
    clip = load_clip(siglip, name="siglip")
    tokens = clip.tokenize(TEXTS)
    assert tokens.shape == (len(TEXTS), 16) and tower_of(clip.model) is None
    assert clip.token_rows(["A photo, of: a DOG!"]) == clip.token_rows(["a photo of a dog"])
    cut = clip.model.encode_text(tokens[1:2, :4], normalize=True)
    assert not torch.allclose(cut, clip.embed_texts(TEXTS[1:2]), atol=1e-3)


def test_siglip_s_prompts_are_whole_and_distinct(siglip: Path) -> None:
    clip = load_clip(siglip, name="siglip")
    assert are_cut(clip, ["photo " * 15, "photo " * 16, ""]) == [False, True, False]  # and the end of the text
    require_distinct_prompts(clip, ["a photo of a cat", "a photo of a dog"], ["cat", "dog"])
    with pytest.raises(UserError, match='the classes "dog" and "Dog!" are the same tokens'):
        require_distinct_prompts(clip, ["a photo of a dog", "a photo of a Dog!"], ["dog", "Dog!"])


def test_siglip_s_own_loss_grows_under_attack(siglip: Path) -> None:
    model, tokenizer = (f(f"local-dir:{siglip}") for f in (open_clip.create_model, open_clip.get_tokenizer))
    images = torch.randint(256, (4, 3, 160, 160), generator=torch.Generator().manual_seed(0)) / 255
    labels = torch.tensor([0, 1, 0, 1])
    found = attack(model, images, labels, ["cat", "dog"], "image", eps="8/255", steps=3, tokenizer=tokenizer)
    assert 0 < (found.images - images).abs().max() <= 8 / 255 + 1e-6
    tokens, losses = tokenizer([f"This is a photo of a {name}" for name in ("cat", "dog")]), []
    for pixels in (images, found.images):
        logits, _ = model.eval().get_logits((pixels - 0.5) / 0.5, tokens)
        losses.append(cross_entropy(logits, labels, reduction="none"))
    assert (losses[1] > losses[0]).all()


def test_a_model_is_loaded_without_drawing_weights(siglip: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = load_clip(siglip, name="siglip").model
    assert torch.equal(torch.get_rng_state(), before)
    whole = open_clip.create_model(f"local-dir:{siglip}")
    assert not torch.equal(torch.get_rng_state(), before)
    drawn = dict([*whole.named_parameters(), *whole.named_buffers()])
    loaded = dict([*model.named_parameters(), *model.named_buffers()])
    assert loaded.keys() == drawn.keys() and all(torch.equal(loaded[name], drawn[name]) for name in drawn)
