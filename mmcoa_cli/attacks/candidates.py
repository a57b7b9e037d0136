"""The candidates of BERT-Attack: what a masked LM would put in the place of each word of a prompt.

No CLIP takes part in them, so they are found once for a masked LM, prompts and settings, and remembered beside the
masked LM where that is one of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from store.errors import UserError
from store.keys import key_of

from ..models.stored_lm import recall, remember
from .compat import CASE, POSITIONS, WORDS
from .settings import BertAttackSettings
from .words import STOP_WORDS, parted

if TYPE_CHECKING:
    from ..models.masked_lm import MaskedLM
    from ..models.stored_lm import AnyMaskedLM

VERSION = 1  # raise it when the same masked LM, prompts and settings would have other candidates
MAX_TOKENS = 30  # of a text, to the release
Candidates = list[list[list[str]]]  # [prompt][word] -> words that may replace it, the best first
Spans = dict[int, tuple[int, int]]  # where the pieces lie of each word that may be replaced


def candidates_of(prompts: Sequence[str], *, mlm: AnyMaskedLM, settings: BertAttackSettings) -> Candidates:
    """The candidates; those of a word of several pieces are in BERT-Attack's order before it asks for perplexities.

    Raises UserError for a prompt that the masked LM cannot see whole: its last words could not be attacked.
    """
    if mlm.memory is None:
        return _found(prompts, mlm=mlm.loaded, settings=settings)
    deciding = {
        "version": VERSION,
        "mlm": mlm.digest(),
        "prompts": list(prompts),
        "candidates": [settings.max_candidates, settings.min_score],
        "compat": [settings.does(part) for part in (POSITIONS, CASE, WORDS)],
    }
    key = key_of(deciding)
    known: Candidates | None = recall(mlm.memory, key)
    if known is not None and _are_candidates(known, prompts):
        return known
    found = _found(prompts, mlm=mlm.loaded, settings=settings)
    remember(mlm.memory, key, found)
    return found


def first_of(prompt: str, i: int, equals: Sequence[str], *, mlm: AnyMaskedLM, settings: BertAttackSettings) -> str:
    """Of candidates for word i that a CLIP finds equally good the masked LM's first: the one of highest score, or of
    several pieces the least perplexing. The masked LM is asked for no perplexity but here."""
    start, end = _spans(prompt, _limit(mlm.loaded, settings), mlm=mlm.loaded, settings=settings)[i]
    if end - start == 1:
        return equals[0]
    (order,) = _found([prompt], mlm=mlm.loaded, settings=settings, ranked=i)
    return min(equals, key=lambda word: order[i].index(word) if word in order[i] else len(order[i]))


def _are_candidates(known: Any, prompts: Sequence[str]) -> bool:
    """Whether what was remembered is words for each word of each prompt."""
    words = [len(prompt.split(" ")) for prompt in prompts]
    if not isinstance(known, list) or [len(own) if isinstance(own, list) else -1 for own in known] != words:
        return False
    every = [some for own in known for some in own]
    return all(isinstance(some, list) and all(map(_is_word, some)) for some in every)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _found(
    prompts: Sequence[str], *, mlm: MaskedLM, settings: BertAttackSettings, ranked: int | None = None
) -> Candidates:
    """One pass of the masked LM, whose head sees only the places of words that may be replaced. Candidates of the word
    `ranked` are in their last order."""
    whole, limit = settings.does(WORDS), _limit(mlm, settings)
    spans = [_spans(prompt, limit, mlm=mlm, settings=settings) for prompt in prompts]
    places = [sorted({place for span in own.values() for place in range(*span)}) for own in spans]
    found: Candidates = []
    for prompt, own, predicted in zip(
        prompts, spans, mlm.predict(prompts, max_tokens=limit, k=settings.max_candidates, at=places), strict=True
    ):
        words = [parted(word, whole=whole)[1] for word in prompt.split(" ")]
        found.append([[] for _ in words])
        for i, span in own.items():
            some = predicted.words(*span, min_score=settings.min_score, one_word=not whole, ranked=i == ranked)
            found[-1][i] = [new for new in some if _may_replace(words[i], new, settings)]
    return found


def _limit(mlm: MaskedLM, settings: BertAttackSettings) -> int:
    return mlm.limit(MAX_TOKENS if settings.does(WORDS) else None)


def _spans(prompt: str, limit: int, *, mlm: MaskedLM, settings: BertAttackSettings) -> Spans:
    whole, first = settings.does(WORDS), 0 if settings.does(POSITIONS) else 1
    words = [parted(word, whole=whole) for word in prompt.split(" ")]
    spans = mlm.spans([part for word in words for part in word], first=first)
    if not whole and spans[-1][1] - first > limit - 2:  # the first is [CLS]'s, the last [SEP]'s
        raise UserError(
            f'{mlm.name} reads {limit} tokens of a text, too few for "{prompt}"',
            hint="--mlm bert-base-uncased reads 512; or give the data a shorter template",
        )
    compared = str if settings.does(CASE) else str.lower
    return {
        i: span
        for i, ((_, word, _), span) in enumerate(zip(words, spans[1::3], strict=True))
        if compared(word) not in STOP_WORDS and span[0] < span[1] and span[0] <= limit - 2
    }


def _may_replace(word: str, candidate: str, settings: BertAttackSettings) -> bool:
    """A sign ("'", "[UNK]") is no word, except to the release."""
    compared = str if settings.does(CASE) else str.lower
    if compared(candidate) in STOP_WORDS or compared(candidate) == compared(word) or "##" in candidate:
        return False
    return settings.does(WORDS) or parted(candidate)[1] == candidate
