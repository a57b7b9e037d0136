"""Learned context vectors: where they stand, what fits, and what an attack on the text can replace."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.attacks.bert_attack import TextTarget, attack_prompts
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.context import Context
from mmcoa_cli.models.token_rows import are_cut, require_distinct_prompts
from mmcoa_cli.models.victim import wrap
from mmcoa_cli.models.wrappers import WRAPPERS, ContextSettings
from store.errors import UserError

NAMES = ["cat", "aquarium_fish", "Pickup truck"]
PROMPTS = ["cat.", "aquarium fish.", "pickup truck."]


def prompted(clip: Clip, n_ctx: int | None = 5) -> Context:
    wrapper = wrap("context", clip, ContextSettings(n_ctx), base="vit")
    assert isinstance(wrapper, Context)
    wrapper.draw(seed=2)
    return wrapper


def by_hand(clip: Clip, context: Tensor, texts: list[str]) -> Tensor:
    """open_clip's text encoder, layer by layer, on [start] context text [end], padded to the whole context of 16."""
    model, features = clip.model, []
    for text in texts:
        row = clip.tokenizer([text])[0]
        words = row[1 : int(row.argmax()) + 1]
        vectors = torch.cat([model.token_embedding(row[:1]), context, model.token_embedding(words)])
        padded = torch.cat([vectors, model.token_embedding(torch.zeros(16 - len(vectors), dtype=torch.long))])
        x = model.transformer((padded + model.positional_embedding)[None], attn_mask=model.attn_mask)
        features.append(model.ln_final(x)[0, len(vectors) - 1] @ model.text_projection)
    return F.normalize(torch.stack(features), dim=1)


def test_the_vectors_stand_between_the_start_and_the_class_name(clip: Clip) -> None:
    victim, before = prompted(clip), clip.embed_texts(PROMPTS)
    assert class_prompts(NAMES, WRAPPERS["context"].template) == PROMPTS
    expected = by_hand(clip, victim.context, PROMPTS)
    torch.testing.assert_close(victim.embed_texts(PROMPTS), expected.detach())
    torch.testing.assert_close(victim(None, victim.tokenize(PROMPTS))[1], expected)
    assert torch.equal(clip.embed_texts(PROMPTS), before)  # nothing of it stays in the encoder
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(victim.encode_images(images), clip.encode_images(images))


def test_its_gradient_is_that_of_finite_differences(clip: Clip) -> None:
    """Of a loss of the text features, along random directions, in double precision."""
    victim = prompted(clip).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 32, generator=generator, dtype=torch.float64)

    def loss() -> Tensor:
        tokens = victim.tokenize(PROMPTS)
        with victim.context_placed():
            texts = clip.model.encode_text(F.pad(tokens, (0, 16 - tokens.shape[1])))  # `encode_texts` makes it single
        return F.cross_entropy(images @ F.normalize(texts, dim=1).T, torch.tensor([0, 1, 2, 1]))

    (gradient,) = torch.autograd.grad(loss(), victim.context)
    direction, step = torch.randn(gradient.shape, generator=generator, dtype=torch.float64), 1e-6
    with torch.no_grad():
        victim.context += step * direction
        above = loss()
        victim.context -= 2 * step * direction
        difference = (above - loss()) / (2 * step)
    torch.testing.assert_close(difference, (gradient * direction).sum(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("n_ctx", "reads", "count"), [(None, 77, 32), (None, 64, 32), (None, 16, 8), (20, 16, 20)])
def test_how_many_there_are(n_ctx: int | None, reads: int, count: int) -> None:
    assert ContextSettings(n_ctx).count(reads) == count


@pytest.mark.parametrize("n_ctx", [0, -3, 5000])
def test_a_number_that_is_none_is_an_error_in_words(n_ctx: int) -> None:
    with pytest.raises(UserError, match=f"-o n_ctx={n_ctx} is out of range"):
        ContextSettings(n_ctx)


@pytest.mark.parametrize("n_ctx", [12, 32])
@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_what_does_not_fit_is_an_error_with_what_fits(clip: Clip, n_ctx: int) -> None:
    """The longest prompt has five tokens: start, two words, full stop and end; the model reads 16."""
    with pytest.raises(UserError, match=f'{n_ctx} context vectors and the 5 tokens of "aquarium fish."') as raised:
        prompted(clip, n_ctx).require(PROMPTS)
    assert raised.value.hint == "-o n_ctx=11"
    fitting = prompted(clip, 11)
    fitting.require(PROMPTS)
    require_distinct_prompts(fitting, PROMPTS, NAMES)
    assert are_cut(fitting, ["aquarium fish.", "an aquarium fish."]) == [False, True]


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_an_attack_on_the_text_replaces_words_of_the_class_name_alone(clip: Clip) -> None:
    """Every word that it can replace is offered "dog": what comes out is the best of them by brute force."""
    victim = prompted(clip)
    words = [prompt.split(" ") for prompt in PROMPTS]
    target = TextTarget(PROMPTS, [[["dog"] for _ in own] for own in words], BertAttackSettings(), str, frozenset())
    written = attack_prompts(victim.embed_texts, target)
    assert written[0] == "dog." and set(written[1:]) <= {
        "dog fish.", "aquarium dog.", "dog truck.", "pickup dog."
    }  # fmt: skip
    kept = victim.context.detach().clone()
    assert torch.equal(victim.context, kept) and victim.token_rows(["cat."]) != clip.token_rows(["cat."])


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_two_contexts_have_no_place(clip: Clip) -> None:
    inner = prompted(clip, 3)
    with pytest.raises(UserError, match="vit has learned context vectors already"):
        wrap("context", inner, ContextSettings(2), base="run")


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_a_tokenizer_of_another_kind_is_refused(clip: Clip) -> None:
    """One that writes something else for a repeated word."""
    tokenizer = clip.tokenizer
    clip.tokenizer = lambda texts, **options: tokenizer([text.replace("X X", "xx") for text in texts], **options)
    with pytest.raises(UserError, match="vit does not read texts by CLIP's own tokens"):
        prompted(clip)
