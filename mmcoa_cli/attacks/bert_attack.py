"""BERT-Attack (Li et al., 2020) on class prompts, as the paper uses it (Eq. 4).

One word of a prompt is replaced so that the text embedding moves most: KL(softmax(T) || softmax(T')). All prompts are
attacked together, in few encoder calls. What no CLIP weight changes (`prepare`) is separate from what depends on them
(`attack_prompts`), because a training run repeats only the second.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.prompts import clean_name
from ..models.finite import require_finite
from ..models.texts import as_they_come
from ..models.tokens import REMEMBERED
from .base import Texts
from .candidates import MAX_TOKENS, Candidates, candidates_of, first_of
from .compat import SINGLE, WORDS
from .settings import BertAttackSettings
from .words import bare, parted, replaced

if TYPE_CHECKING:
    from ..models.stored_lm import AnyMaskedLM

AT_ONCE = 1024  # texts: memory is bounded by what can become of these
CLOSE = 1e-6  # a gain that may be rounding: two calls of the encoder give a text embeddings that are so equal
Encoder = Callable[[list[str]], Tensor]  # strings -> unit embeddings (n, D)
Gain = Callable[[Sequence[int], Tensor], Tensor]  # the numbers of prompts, embeddings (n, D) -> (n,)
Gains = list[float]  # a tensor for each prompt would take longer to look into


def _never(text: str) -> bool:
    return False


def _listed_first(prompt: str, position: int, equals: Sequence[str]) -> str:
    return equals[0]


@dataclass(frozen=True)
class TextTarget:
    """K class prompts with everything about them that no CLIP weight changes."""

    prompts: list[str]
    candidates: Candidates
    settings: BertAttackSettings
    as_encoded: Callable[[str], str]
    forbidden: frozenset[str]  # what an attack may not bring into a prompt: all class names under `no_collisions`
    is_cut: Callable[[str], bool] = _never  # whether the context is too short for a text: such candidates are not used
    first: Callable[[str, int, Sequence[str]], str] = _listed_first  # of candidates for a word that are equally good

    def of(self, numbers: Sequence[int]) -> TextTarget:
        """Some of the prompts."""
        prompts, candidates = [self.prompts[k] for k in numbers], [self.candidates[k] for k in numbers]
        return replace(self, prompts=prompts, candidates=candidates)


def attack_texts(texts: Texts, settings: BertAttackSettings, *, away_from: Tensor | None = None) -> list[str]:
    """The adversarial version of every text, in order. Texts that are the same are attacked once, unless each is turned
    away from an embedding of its own (`away_from`, (K, D), of unit length)."""
    from ..models.token_rows import cut_by
    from ..terminal.console import progress

    if texts.mlm is None:
        raise ValueError("the text attack takes its words from a masked LM")
    every = list(dict.fromkeys(texts.prompts)) if away_from is None else list(texts.prompts)
    found: list[str] = []
    is_cut = cut_by(texts.victim)
    with progress("attacking texts", total=len(every), unit="texts", quiet=len(every) <= AT_ONCE) as task:
        for start in range(0, len(every), AT_ONCE):
            some = every[start : start + AT_ONCE]
            target = prepare(some, texts.names, mlm=texts.mlm, settings=settings, is_cut=is_cut)
            guide = None if away_from is None else away_from[start : start + AT_ONCE]
            found += attack_prompts(texts.victim.embed_texts, target, away_from=guide)
            task.advance(len(some))
    if away_from is not None:
        return found
    adversarial = dict(zip(every, found, strict=True))
    return [adversarial[text] for text in texts.prompts]


def prepare(
    prompts: Sequence[str],
    class_names: Sequence[str],
    *,
    mlm: AnyMaskedLM,
    settings: BertAttackSettings,
    is_cut: Callable[[str], bool] = _never,
) -> TextTarget:
    """The prompts with the candidates of their words. `is_cut` says of a text whether the CLIP under attack cannot see
    its end.

    Raises UserError for a prompt that the masked LM cannot see whole: its last words could not be attacked.
    """
    # the release hands CLIP what BERT's tokenizer makes of a text, which spaces out some punctuation
    whole = settings.does(WORDS)
    as_encoded = lru_cache(maxsize=REMEMBERED)(lambda text: mlm.loaded.round_trip(text, MAX_TOKENS)) if whole else str
    return TextTarget(
        list(prompts),
        candidates_of(prompts, mlm=mlm, settings=settings),
        settings,
        as_encoded,
        frozenset(map(_bare_name, class_names)) if settings.no_collisions else frozenset(),
        _never if whole else is_cut,
        partial(first_of, mlm=mlm, settings=settings),
    )


def attack_prompts(encode: Encoder, target: TextTarget, *, away_from: Tensor | None = None) -> list[str]:
    """BERT-Attack on all prompts at once: the adversarial prompt of each, in order.

    1. Words that have candidates are ranked by `word_importance`. 2. The most important one gets the candidate of
    greatest divergence, or (`away_from`, (K, D)) of least similarity to what its prompt is turned away from, if that is
    greater than the prompt's as it is. 3. So on until `max_words_changed` words have changed.
    """
    with as_they_come(target.settings.does(SINGLE)):  # in which rounding chooses between words
        return _attacked(encode, target, away_from)


def _attacked(encode: Encoder, target: TextTarget, away_from: Tensor | None) -> list[str]:
    single = target.settings.does(SINGLE)  # in which even a text's divergence from itself is not quite 0
    texts = [prompt.split(" ") for prompt in target.prompts]
    originals, ranks = word_importance(encode, target)
    gain: Gain = partial(_distances, away_from) if away_from is not None else partial(_divergences, originals, single)
    queues = [[i for i in rank if some[i]] for rank, some in zip(ranks, target.candidates, strict=True)]
    changes, reached = [0] * len(texts), gain(range(len(texts)), originals).tolist()
    while turns := [
        (k, queue.pop(0)) for k, queue in enumerate(queues) if queue and changes[k] < target.settings.max_words_changed
    ]:
        options = [_options(target, k, i, words=texts[k]) for k, i in turns]
        every = _gains(encode, target, gain, [k for k, _ in turns], [[*some.values()] for some in options])
        for (k, i), some, gains in zip(turns, options, every, strict=True):
            if some and not single and abs(max(gains) - reached[k]) < CLOSE:
                # equal tokens are equal to the bit only within a call of the encoder
                ((reached[k], *gains),) = _gains(encode, target, gain, [k], [[" ".join(texts[k]), *some.values()]])
            if some and max(gains) > reached[k]:
                texts[k] = _replaced(target, texts[k], i, _best(target, k, i, [*some], gains))
                reached[k] = max(gains)
                changes[k] += 1
    return [" ".join(words) for words in texts]


def word_importance(encode: Encoder, target: TextTarget) -> tuple[Tensor, list[list[int]]]:
    """The embeddings of the prompts, and each one's words by falling KL(softmax(T) || softmax(T with the word as
    [UNK])): those that have candidates, of which a single one needs no rank; in single precision all, in a call of
    their own, since the last bits of each depend on what is computed beside it."""
    single, prompts = target.settings.does(SINGLE), [prompt.split(" ") for prompt in target.prompts]
    places = [[i for i, some in enumerate(own) if some or single] for own in target.candidates]
    masked = [
        [" ".join(_replaced(target, words, i, "[UNK]")) for i in own] if len(own) > 1 else []
        for words, own in zip(prompts, places, strict=True)
    ]
    every = list(itertools.chain(*masked))
    calls = [target.prompts, every] if single and every else [[*target.prompts, *every]]
    found = torch.cat([_encoded(encode, target, texts) for texts in calls])
    originals, changed = found[: len(prompts)], found[len(prompts) :]
    owners = [k for k, group in enumerate(masked) for _ in group]
    importance = iter(_divergences(originals, single, owners, changed).tolist())
    scores = [[next(importance) for _ in group] for group in masked]
    orders = [sorted(range(len(own)), key=own.__getitem__, reverse=True) for own in scores]  # of equals the first first
    return originals, [[own[i] for i in order] or own for own, order in zip(places, orders, strict=True)]


def _options(target: TextTarget, k: int, position: int, *, words: list[str]) -> dict[str, str]:
    """What prompt k, now `words`, can become by each candidate for `position`."""
    before, _, behind = parted(words[position], whole=target.settings.does(WORDS))
    first, last = " ".join([*words[:position], before]), " ".join([behind, *words[position + 1 :]])
    options = {word: first + word + last for word in target.candidates[k][position]}  # as `_replaced` has it
    return {word: option for word, option in options.items() if _is_allowed(target, k, option)}


def _is_allowed(target: TextTarget, k: int, text: str) -> bool:
    collides = bool(target.forbidden) and bool(target.forbidden & _new_phrases(target.prompts[k], text))
    return not collides and not target.is_cut(text)


def _best(target: TextTarget, k: int, position: int, candidates: Sequence[str], gains: Gains) -> str:
    """The candidate that gains most; of several the masked LM's first."""
    most = max(gains)
    best = [word for word, gain in zip(candidates, gains, strict=True) if gain == most]
    return best[0] if len(best) == 1 else target.first(target.prompts[k], position, best)


def divergence(original: Tensor, changed: Tensor, *, single: bool = False) -> Tensor:
    """KL(softmax(T) || softmax(T')) along the last dimension, in double precision or, as the release has it, in
    single: (..., D), (..., D) -> (...)."""
    if single:
        return F.kl_div(changed.log_softmax(dim=-1), original.softmax(dim=-1), reduction="none").sum(dim=-1)
    p, q = original.double().log_softmax(dim=-1), changed.double().log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def collisions(adv_prompts: Sequence[str], prompts: Sequence[str], class_names: Sequence[str]) -> int:
    """How many prompts were given another class's name: a wrong label rather than a perturbation."""
    names = set(map(_bare_name, class_names))
    return sum(
        bool(names & _new_phrases(prompt, adv_prompt)) for prompt, adv_prompt in zip(prompts, adv_prompts, strict=True)
    )


def _new_phrases(prompt: str, adv_prompt: str) -> set[str]:
    """Every run of words that `adv_prompt` has and `prompt` has not, in lower case and without punctuation at words:
    "oak tree" for a "maple tree."."""
    return _phrases(adv_prompt) - _phrases(prompt)


def _phrases(text: str) -> set[str]:
    words = [bare(word) for word in text.lower().split(" ")]
    return {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def _bare_name(name: str) -> str:
    return " ".join(map(bare, clean_name(name).split(" ")))


def _divergences(originals: Tensor, single: bool, owners: Sequence[int], changed: Tensor) -> Tensor:
    """How far texts are from the prompts that they were made of: (n, D) -> (n,)."""
    return divergence(originals[list(owners)], changed, single=single)


def _distances(away_from: Tensor, owners: Sequence[int], changed: Tensor) -> Tensor:
    """-<T', f(x)>, in double precision: (n, D) -> (n,)."""
    return -(changed.double() * away_from[list(owners)].double()).sum(dim=-1)


def _gains(
    encode: Encoder, target: TextTarget, gain: Gain, owners: Sequence[int], groups: list[list[str]]
) -> list[Gains]:
    """What each text of a group gains on the prompt that owns it; one call of the encoder."""
    numbers = [k for k, group in zip(owners, groups, strict=True) for _ in group]
    if not numbers:
        return [[] for _ in groups]
    gains = iter(gain(numbers, _encoded(encode, target, list(itertools.chain(*groups)))).tolist())
    return [[next(gains) for _ in group] for group in groups]


def _encoded(encode: Encoder, target: TextTarget, texts: Sequence[str]) -> Tensor:
    return require_finite(encode([target.as_encoded(text) for text in texts]), "the text embeddings of the attack")


def _replaced(target: TextTarget, words: list[str], position: int, word: str) -> list[str]:
    """`words` with another one at `position`; punctuation at the old one stays, unless as the release."""
    new = replaced(words[position], word, whole=target.settings.does(WORDS))
    return [*words[:position], new, *words[position + 1 :]]
