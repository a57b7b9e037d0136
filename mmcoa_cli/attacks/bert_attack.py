"""BERT-Attack (Li et al., 2020) on class prompts, as the paper uses it (Eq. 4).

One word of a prompt is replaced so that the text embedding moves most: KL(softmax(T) || softmax(T')). All prompts are
attacked together, in few encoder calls. What no CLIP weight changes (`prepare`) is separate from what depends on them
(`attack_prompts`), because a training run repeats only the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from store.errors import UserError

from ..datasets.prompts import clean_name
from ..models.finite import require_finite
from ..models.masked_lm import MaskedLM
from .base import Texts
from .compat import CASE, POSITIONS, SINGLE, WORDS
from .settings import BertAttackSettings
from .stop_words import STOP_WORDS
from .words import bare, parted, replaced

RELEASE_MAX_TOKENS = 30

AT_ONCE = 1024  # texts: memory is bounded by what can become of these
Encoder = Callable[[list[str]], Tensor]  # strings -> unit embeddings (n, D)
Gain = Callable[[Sequence[int], Tensor], Tensor]  # the numbers of prompts, embeddings (n, D) -> (n,)
Candidates = list[list[list[str]]]  # [prompt][word] -> words that may replace it


def _never(text: str) -> bool:
    return False


@dataclass(frozen=True)
class TextTarget:
    """K class prompts with everything about them that no CLIP weight changes."""

    prompts: list[str]
    candidates: Candidates
    settings: BertAttackSettings
    as_encoded: Callable[[str], str]
    forbidden: frozenset[str]  # what an attack may not bring into a prompt: all class names under `no_collisions`
    is_cut: Callable[[str], bool] = _never  # whether the context is too short for a text: such candidates are not used


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
    mlm: MaskedLM,
    settings: BertAttackSettings,
    is_cut: Callable[[str], bool] = _never,
) -> TextTarget:
    """The prompts with the candidates of their words: one pass of the masked LM over the prompts. `is_cut` says of a
    text whether the CLIP under attack cannot see its end.

    Raises UserError for a prompt that the masked LM cannot see whole: its last words could not be attacked.
    """
    whole, first = settings.does(WORDS), 0 if settings.does(POSITIONS) else 1
    predictions = mlm.predict(prompts, max_tokens=RELEASE_MAX_TOKENS if whole else None, k=settings.max_candidates)
    kept = []
    for prompt, predicted in zip(prompts, predictions, strict=True):
        words = [parted(word, whole=whole) for word in prompt.split(" ")]
        spans = mlm.spans([part for word in words for part in word], first=first)
        if not whole and spans[-1][1] - first > predicted.limit - 2:  # the first is [CLS]'s, the last [SEP]'s
            raise UserError(
                f'{mlm.name} reads {predicted.limit} tokens of a text, too few for "{prompt}"',
                hint="--mlm bert-base-uncased reads 512; or give the data a shorter template",
            )
        found = [predicted.words(*span, min_score=settings.min_score, one_word=not whole) for span in spans[1::3]]
        kept.append([_kept(word, some, settings=settings) for (_, word, _), some in zip(words, found, strict=True)])
    # the release hands CLIP what BERT's tokenizer makes of a text, which spaces out some punctuation
    as_encoded = mlm.round_trip(RELEASE_MAX_TOKENS) if whole else str
    forbidden = frozenset(map(_bare_name, class_names)) if settings.no_collisions else frozenset()
    return TextTarget(list(prompts), kept, settings, as_encoded, forbidden, _never if whole else is_cut)


def _kept(word: str, candidates: list[str], *, settings: BertAttackSettings) -> list[str]:
    """The candidates that may replace `word`; none where the word itself must stay. A sign ("'", "[UNK]") is no word,
    except to the release."""
    compared = str if settings.does(CASE) else str.lower
    if compared(word) in STOP_WORDS:
        return []
    excluded = {*STOP_WORDS, compared(word)}
    found = [c for c in candidates if compared(c) not in excluded and "##" not in c]
    return [c for c in found if settings.does(WORDS) or parted(c)[1] == c]


def attack_prompts(encode: Encoder, target: TextTarget, *, away_from: Tensor | None = None) -> list[str]:
    """BERT-Attack on all prompts at once: the adversarial prompt of each, in order.

    1. Words are ranked by `word_importance`. 2. The most important word that has candidates gets the one of greatest
    divergence, or (`away_from`, (K, D)) of least similarity to what its prompt is turned away from. 3. So on until
    `max_words_changed` words have changed.
    """
    texts, originals = [prompt.split(" ") for prompt in target.prompts], _encoded(encode, target, target.prompts)
    single = target.settings.does(SINGLE)  # in which even a text's divergence from itself is not quite 0
    queues = [
        [i for i in ranking if target.candidates[k][i]]
        for k, ranking in enumerate(word_importance(encode, target, originals))
    ]
    gain: Gain = partial(_distances, away_from) if away_from is not None else partial(_divergences, originals, single)
    changes, reached = [0] * len(texts), gain(range(len(texts)), originals).tolist()
    while turns := [
        (k, queue.pop(0)) for k, queue in enumerate(queues) if queue and changes[k] < target.settings.max_words_changed
    ]:
        options = [_options(target, k, i, words=texts[k]) for k, i in turns]
        written = [(k, [" ".join(o) for o in choices]) for (k, _), choices in zip(turns, options, strict=True)]
        every = _gains(encode, target, gain, written)
        for (k, _), choices, gains in zip(turns, options, every, strict=True):
            if choices and gains.max() > reached[k]:
                best = int(gains.argmax())
                texts[k], reached[k] = choices[best], float(gains[best])
                changes[k] += 1
    return [" ".join(words) for words in texts]


def _options(target: TextTarget, k: int, position: int, *, words: list[str]) -> list[list[str]]:
    """What prompt k, now `words`, can become by another word at `position` (the release's may hold spaces)."""
    options = [_replaced(target, words, position, word) for word in target.candidates[k][position]]
    texts = [" ".join(option) for option in options]
    return [
        option
        for option, text in zip(options, texts, strict=True)
        if not target.forbidden & _new_phrases(target.prompts[k], text) and not target.is_cut(text)
    ]


def word_importance(encode: Encoder, target: TextTarget, originals: Tensor) -> list[list[int]]:
    """Each prompt's word positions by falling KL(softmax(T) || softmax(T with the word as [UNK]))."""
    prompts = [prompt.split(" ") for prompt in target.prompts]
    masked = [[" ".join(_replaced(target, words, i, "[UNK]")) for i in range(len(words))] for words in prompts]
    gain = partial(_divergences, originals, target.settings.does(SINGLE))
    importance = _gains(encode, target, gain, list(enumerate(masked)))
    return [torch.argsort(scores, descending=True, stable=True).tolist() for scores in importance]


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


def _gains(encode: Encoder, target: TextTarget, gain: Gain, groups: list[tuple[int, list[str]]]) -> list[Tensor]:
    """What each of a group's texts gains on prompt k, for groups (k, texts); one call of the encoder."""
    owners = [k for k, texts in groups for _ in texts]
    if not owners:
        return [torch.empty(0) for _ in groups]
    changed = _encoded(encode, target, [text for _, texts in groups for text in texts])
    return list(gain(owners, changed).cpu().split([len(texts) for _, texts in groups]))


def _encoded(encode: Encoder, target: TextTarget, texts: Sequence[str]) -> Tensor:
    return require_finite(encode([target.as_encoded(text) for text in texts]), "the text embeddings of the attack")


def _replaced(target: TextTarget, words: list[str], position: int, word: str) -> list[str]:
    """`words` with another one at `position`; punctuation at the old one stays, unless as the release."""
    new = replaced(words[position], word, whole=target.settings.does(WORDS))
    return [*words[:position], new, *words[position + 1 :]]
