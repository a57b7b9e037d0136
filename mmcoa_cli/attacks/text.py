"""The text attack: BERT-Attack (Li et al., 2020) on class prompts, as the paper uses it (Eq. 4).

One word of a prompt is replaced so that the text embedding moves most: KL(softmax(T) || softmax(T')). All prompts are
attacked together, in few encoder calls. What depends on the masked LM alone (`find_candidates`) is separate from what
depends on CLIP's weights (`attack_prompts`), because a training run repeats only the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from store.errors import UserError

from ..finite import require_finite
from ..prompts import clean_name
from .masked_lm import MaskedLM
from .stop_words import STOP_WORDS

VERSION = 1  # part of every key: raise it when the same specification would give other prompts
COMPAT = ("none", "release")
RELEASE_MAX_TOKENS = 30

Encoder = Callable[[list[str]], Tensor]  # strings -> unit embeddings (n, D)
Candidates = list[list[list[str]]]  # [prompt][word] -> words that may replace it


@dataclass(frozen=True)
class TextAttack:
    """BERT-Attack's specification. `compat="release"` is the released code's own variant: candidates are read one
    token to the left of the word, and stop words are compared with their case ("This" may be attacked)."""

    max_candidates: int = 10
    min_score: float = 0.3
    max_words_changed: int = 1
    no_collisions: bool = False
    compat: str = "none"

    def __post_init__(self) -> None:
        if self.compat not in COMPAT:
            raise UserError(f"there is no --compat {self.compat!r}", hint=f"--compat {' or '.join(COMPAT)}")


@dataclass(frozen=True)
class TextTarget:
    """K class prompts with everything about them that no CLIP weight changes."""

    prompts: list[str]
    candidates: Candidates
    attack: TextAttack
    as_encoded: Callable[[str], str]
    forbidden: frozenset[str]  # what an attack may not bring into a prompt: all class names under `no_collisions`


def prepare(prompts: Sequence[str], class_names: Sequence[str], *, mlm: MaskedLM, attack: TextAttack) -> TextTarget:
    """The prompts with the candidates of their words: one pass of the masked LM over the prompts."""
    release = attack.compat == "release"
    predictions = mlm.predict(prompts, max_tokens=RELEASE_MAX_TOKENS if release else None, k=attack.max_candidates)
    found = []
    for prompt, predicted in zip(prompts, predictions, strict=True):
        spans = mlm.word_spans(prompt, first=0 if release else 1)
        found.append([predicted.words(*span, min_score=attack.min_score) for span in spans])
    kept = [
        [_kept(word, words, attack=attack) for word, words in zip(prompt.split(" "), of_prompt, strict=True)]
        for prompt, of_prompt in zip(prompts, found, strict=True)
    ]
    # the release hands CLIP what BERT's tokenizer makes of a text, which spaces out some punctuation
    as_encoded = mlm.round_trip(RELEASE_MAX_TOKENS) if release else str
    forbidden = frozenset(clean_name(name) for name in class_names) if attack.no_collisions else frozenset()
    return TextTarget(list(prompts), kept, attack, as_encoded, forbidden)


def _kept(word: str, candidates: list[str], *, attack: TextAttack) -> list[str]:
    """The candidates that may replace `word`; none where the word itself must stay."""
    compared = str if attack.compat == "release" else str.lower
    if compared(word) in STOP_WORDS:
        return []
    excluded = {*STOP_WORDS, compared(word)}
    return [c for c in candidates if compared(c) not in excluded and "##" not in c]


def attack_prompts(encode: Encoder, target: TextTarget) -> list[str]:
    """BERT-Attack on all prompts at once: the adversarial prompt of each, in order.

    1. Words are ranked by `word_importance`. 2. The most important word that has candidates gets the one of greatest
    divergence. 3. So on until `max_words_changed` words have changed.
    """
    texts, originals = [prompt.split(" ") for prompt in target.prompts], _encoded(encode, target, target.prompts)
    queues = [
        [i for i in ranking if target.candidates[k][i]]
        for k, ranking in enumerate(word_importance(encode, target, originals))
    ]
    changes, reached = [0] * len(texts), [0.0] * len(texts)
    while turns := [
        (k, queue.pop(0)) for k, queue in enumerate(queues) if queue and changes[k] < target.attack.max_words_changed
    ]:
        options = [_options(target, k, i, words=texts[k]) for k, i in turns]
        written = [(k, [" ".join(o) for o in choices]) for (k, _), choices in zip(turns, options, strict=True)]
        divergences = _divergences(encode, target, originals, written)
        for (k, _), choices, gains in zip(turns, options, divergences, strict=True):
            if choices and gains.max() > reached[k]:
                best = int(gains.argmax())
                texts[k], reached[k] = choices[best], float(gains[best])
                changes[k] += 1
    return [" ".join(words) for words in texts]


def _options(target: TextTarget, k: int, position: int, *, words: list[str]) -> list[list[str]]:
    """What prompt k, now `words`, can become by another word at `position` (a new "word" may hold spaces)."""
    options = [_replaced(words, position, word) for word in target.candidates[k][position]]
    return [words for words in options if not target.forbidden & _new_phrases(target.prompts[k], " ".join(words))]


def word_importance(encode: Encoder, target: TextTarget, originals: Tensor) -> list[list[int]]:
    """Each prompt's word positions by falling KL(softmax(T) || softmax(T with the word as [UNK]))."""
    prompts = [prompt.split(" ") for prompt in target.prompts]
    masked = [[" ".join(_replaced(words, i, "[UNK]")) for i in range(len(words))] for words in prompts]
    importance = _divergences(encode, target, originals, list(enumerate(masked)))
    return [torch.argsort(scores, descending=True, stable=True).tolist() for scores in importance]


def divergence(original: Tensor, changed: Tensor) -> Tensor:
    """KL(softmax(T) || softmax(T')) along the last dimension, in double precision: (..., D), (..., D) -> (...)."""
    p, q = original.double().log_softmax(dim=-1), changed.double().log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def collisions(adv_prompts: Sequence[str], prompts: Sequence[str], class_names: Sequence[str]) -> int:
    """How many prompts were given another class's name: a wrong label rather than a perturbation."""
    names = {clean_name(name) for name in class_names}
    return sum(
        bool(names & _new_phrases(prompt, adv_prompt)) for prompt, adv_prompt in zip(prompts, adv_prompts, strict=True)
    )


def _new_phrases(prompt: str, adv_prompt: str) -> set[str]:
    """Every run of words that `adv_prompt` has and `prompt` has not, in lower case: "oak tree" for a "maple tree"."""
    return _phrases(adv_prompt) - _phrases(prompt)


def _phrases(text: str) -> set[str]:
    words = text.lower().split(" ")
    return {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def _divergences(
    encode: Encoder, target: TextTarget, originals: Tensor, groups: list[tuple[int, list[str]]]
) -> list[Tensor]:
    """The divergence of each of a group's texts from prompt k, for groups (k, texts); one call of the encoder."""
    owners = [k for k, texts in groups for _ in texts]
    if not owners:
        return [torch.empty(0) for _ in groups]
    changed = _encoded(encode, target, [text for _, texts in groups for text in texts])
    gains = divergence(originals[owners], changed).cpu()
    return list(gains.split([len(texts) for _, texts in groups]))


def _encoded(encode: Encoder, target: TextTarget, texts: Sequence[str]) -> Tensor:
    return require_finite(encode([target.as_encoded(text) for text in texts]), "the text embeddings of the attack")


def _replaced(words: list[str], position: int, word: str) -> list[str]:
    return [*words[:position], word, *words[position + 1 :]]
