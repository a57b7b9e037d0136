"""Prompts that a model cannot see whole or cannot tell apart, for every kind of tokenizer that open_clip has."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
from transformers import PreTrainedTokenizerFast

from mmcoa_cli import catalog
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.token_rows import are_cut, cut_by, require_distinct_prompts
from store.errors import UserError

from ..attacks.test_bert_attack import wordpiece_tokenizer
from ..conftest import TEXT, VIT

CONTEXT = 16


def simple(_: Path) -> Any:
    return open_clip.SimpleTokenizer(context_length=CONTEXT)


def hugging_face(folder: Path, *, mode: str | None = None, left: bool = False, **options: Any) -> Any:
    tokenizer: PreTrainedTokenizerFast = wordpiece_tokenizer()
    if left:
        tokenizer.padding_side = "left"
    if mode:
        tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    tokenizer.save_pretrained(folder)
    return open_clip.tokenizer.HFTokenizer(str(folder), context_length=CONTEXT, tokenizer_mode=mode, **options)


KINDS: dict[str, tuple[Callable[[Path], Any], int]] = {  # and how many words of one token each fit
    "simple": (simple, CONTEXT - 2),
    "wordpiece": (hugging_face, CONTEXT - 2),
    "wordpiece without [SEP]": (lambda folder: hugging_face(folder, strip_sep_token=True), CONTEXT - 2),
    "padded before": (lambda folder: hugging_face(folder, left=True), CONTEXT - 2),
    "class token last": (lambda folder: hugging_face(folder, mode="clips"), CONTEXT - 3),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, small_clips: dict[str, Clip]) -> tuple[Clip, int]:
    make, room = KINDS[request.param]
    return having(small_clips["vit"] if request.param == "simple" else reading_all(), make(tmp_path)), room


def reading_all() -> Clip:
    """A CLIP whose text embedding is that of the last token, as those with other tokenizers have it."""
    return new_clip({**VIT, "text_cfg": {**TEXT, "pool_type": "last"}}, name="last", seed=0)


def having(original: Clip, tokenizer: Any) -> Clip:
    return copy.deepcopy(original, {id(original.tokenizer): tokenizer})


def test_a_text_is_cut_from_the_first_token_that_does_not_fit(kind: tuple[Clip, int]):
    clip, room = kind
    lengths = [1, 2, room - 1, room, room + 1, room + 2, room + 20, 400]
    for word in ("cat", "dog"):
        texts = [" ".join([word] * n) for n in lengths]
        assert are_cut(clip, texts) == [*map(cut_by(clip), texts)] == [n > room for n in lengths]
    assert are_cut(clip, [""]) == [False]


def test_cut_prompts_are_refused_by_name(kind: tuple[Clip, int]):
    clip, room = kind
    names = ["cat", "dog", "bird", "horse"]
    fits, long = (f"{' '.join(['photo'] * n)} {{}}" for n in (room - 1, room))
    require_distinct_prompts(clip, class_prompts(names, fits), names)
    with pytest.raises(UserError) as caught:
        require_distinct_prompts(clip, class_prompts(names, long), names)
    assert '"cat", "dog" and 2 more' in str(caught.value)
    assert f"{CONTEXT} tokens" in str(caught.value)
    assert "--template" in str(caught.value.hint)
    with pytest.raises(UserError, match='the class "cat cat dog"'):
        require_distinct_prompts(clip, class_prompts(["cat cat dog", "dog"], fits), ["cat cat dog", "dog"])


def test_classes_of_one_row_are_refused_by_name(kind: tuple[Clip, int]):
    clip, _ = kind
    names = ["bird", "cat", "dog", "Cat", "CAT"]
    with pytest.raises(UserError, match='"cat", "Cat" and 1 more') as caught:
        require_distinct_prompts(clip, class_prompts(names, "a photo of a {}"), names)
    assert "--class-names" in str(caught.value.hint)


@pytest.mark.parametrize(
    "one,other",
    [("Caf\u00e9", "Cafe\u0301"), ("AT&T", "AT&amp;T"), ("fire", "\ufb01re"), ("bird's nest", "bird\u2019s nest"),
     ("cat", "\uff43\uff41\uff54"), ("a_b", "a/b"), ("a b", "a\u00a0b")],
)  # fmt: skip
def test_names_that_differ_only_as_strings_are_one_class(small_clips: dict[str, Clip], one: str, other: str):
    with pytest.raises(UserError) as caught:
        require_distinct_prompts(small_clips["vit"], class_prompts([one, other], "a {}"), [one, other])
    shown = str(caught.value)
    assert one != other
    assert len({text for text in shown.split('"')[1:4:2]}) == 2, "the two names look the same in the message"


def test_words_that_a_tokenizer_does_not_know_are_one_class(tmp_path: Path, small_clips: dict[str, Clip]):
    names = ["xylophone", "zebra", "cat"]
    clip = having(reading_all(), hugging_face(tmp_path))
    with pytest.raises(UserError, match='"xylophone" and "zebra"'):
        require_distinct_prompts(clip, class_prompts(names, "a photo of a {}"), names)
    require_distinct_prompts(small_clips["vit"], class_prompts(names, "a photo of a {}"), names)


def test_a_prompt_that_ends_itself_is_cut_there(small_clips: dict[str, Clip]):
    """What stands behind the first end of text is not read: two such classes would be one."""
    clip, texts = small_clips["vit"], ["a <end_of_text> cat", "a <end_of_text> dog", "a cat <end_of_text>", "a cat"]
    assert are_cut(clip, texts) == [*map(cut_by(clip), texts)] == [True, True, True, False]
    rows = clip.token_rows(texts)
    assert rows[0] == rows[1]
    assert clip.embed_texts(texts[:1]).allclose(clip.embed_texts(texts[1:2]), atol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in catalog.datasets().items() if row.class_names])
def test_the_catalogs_classes_are_distinct_to_a_real_clip(small_clips: dict[str, Clip], name: str):
    clip, names = having(small_clips["vit"], open_clip.SimpleTokenizer()), catalog.datasets()[name].class_names
    for template in ("This is a photo of a {}", "a photo of a {}, which somebody took on a sunny day in the park."):
        require_distinct_prompts(clip, class_prompts(names, template), names)
