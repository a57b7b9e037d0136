"""Class prompts as a model sees them: rows of tokens, which its tokenizer cleans and its context cuts, without a word.

Two classes of one row are one class to the model, and a prompt that is cut may have lost its class. Neither can be
measured, so both are refused by name before anything is computed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from store.errors import UserError

from .tokens import REMEMBERED
from .victim import Victim

MORE = 8  # tokens that a longer context has
MARKS = 8  # tokens that a tokenizer adds, and more
SHOWN = 100  # characters of a prompt in a message
SHORTER = 'shorter names, or a shorter template: mmcoa fetch DATASET --template "a photo of a {}" --replace'


def are_cut(clip: Victim, texts: Sequence[str]) -> list[bool]:
    """Whether the model never sees the end of a text: in a longer context it has other tokens, not only more padding.

    A text that spells out the tokenizer's own mark for an end is read up to there, and so counts as cut.
    """
    short = clip.tokenizer([*texts, ""])
    long = clip.tokenizer([*texts, ""], context_length=short.shape[1] + MORE)
    whole = [_is_padded(row, longer, empty=long[-1]) for row, longer in zip(short, long, strict=True)]
    read = map(len, clip.token_rows(texts))
    return [not whole[i] or not torch.equal(short[i, end:], short[-1, end:]) for i, end in enumerate(read)]


def cut_by(clip: Victim) -> Callable[[str], bool]:
    """`are_cut` of one text, remembered: a training run meets the same texts at every step. One of fewer bytes than
    the context has tokens is whole, and is not tokenized; and so is one that ends before the context does."""
    context = clip.tokenizer([""]).shape[1]

    @lru_cache(maxsize=REMEMBERED)
    def is_cut(text: str) -> bool:
        spells_a_mark = "<" in text or "&" in text  # as it is, or as an HTML entity
        if not spells_a_mark and (len(text.encode()) + MARKS <= context or len(clip.token_rows([text])[0]) < context):
            return False
        return are_cut(clip, [text])[0]

    return is_cut


def _is_padded(short: Tensor, long: Tensor, *, empty: Tensor) -> bool:
    """Whether `long` is `short` with padding put in somewhere (behind, before, or ahead of a last class token)."""
    differs = (short != long[: len(short)]).nonzero()
    start = int(differs[0]) if len(differs) else len(short)
    end = start + MORE
    return torch.equal(long[start:end], empty[start:end]) and torch.equal(short[start:], long[end:])


def require_distinct_prompts(
    clip: Victim, prompts: Sequence[str], class_names: Sequence[str], *, where_cut: str = SHORTER
) -> None:
    """Raises UserError that names the classes whose prompts `clip` cannot see whole (with `where_cut` as the hint), or
    cannot tell apart."""
    cut = [k for k, is_cut in enumerate(are_cut(clip, prompts)) if is_cut]
    if cut:
        size = clip.tokenizer([""]).shape[1]
        raise UserError(
            f"{clip.name} reads {size} tokens of a text, too few for the prompts of "
            f"{_named([class_names[k] for k in cut])}: {_shown(prompts[cut[0]])}",
            hint=where_cut,
        )
    classes: dict[tuple[int, ...], list[int]] = {}
    for k, row in enumerate(clip.token_rows(prompts)):
        classes.setdefault(row, []).append(k)
    same = next((group for group in classes.values() if len(group) > 1), None)
    if same:
        raise UserError(
            f"to {clip.name} the prompts of {_named([class_names[k] for k in same])} are the same tokens: "
            f"{_shown(prompts[same[0]])}",
            hint="give each class a name of its own: mmcoa fetch DATASET --class-names FILE --replace",
        )


def _shown(prompt: str) -> str:
    return f'"{prompt}"' if len(prompt) <= SHOWN else f'"{prompt[:SHOWN]}..."'


def _named(names: Sequence[str]) -> str:
    """ "the classes "cat", "dog" and 8 more"; two that look alike as their code points."""
    if len(names) == 1:
        return f'the class "{names[0]}"'
    alike = len({unicodedata.normalize("NFC", name) for name in names[:2]}) == 1
    shown = [ascii(name)[1:-1] if alike else name for name in names[:2]]
    if len(names) == 2:
        return f'the classes "{shown[0]}" and "{shown[1]}"'
    return f'the classes "{shown[0]}", "{shown[1]}" and {len(names) - 2} more'
