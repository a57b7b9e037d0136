"""The fewest tokens that a text tower has to read: in a causal one, equal beginnings of texts are read once."""

from __future__ import annotations

from collections.abc import Sequence

from ..attacks.words import STOP_WORDS
from ..models.clip import Clip

CANDIDATES = ("thing", "house", "river", "paper", "window", "garden", "engine", "letter", "music", "winter")


def of_texts(clip: Clip, texts: Sequence[str]) -> int:
    """Of these texts together. Where every token sees all others, each different text counts whole."""
    rows = set(clip.token_rows(list(texts)))
    context = int(clip.tokenizer.context_length)
    if all(len(row) == context for row in rows):
        return context * len(rows)
    return len({row[:length] for row in rows for length in range(1, len(row) + 1)})


def attacked(clip: Clip, prompts: Sequence[str]) -> int:
    """Of all that BERT-Attack has to look at: the prompts, each with one word after another as [UNK], where that may
    change, and each with another last word, ten times."""
    return of_texts(clip, [text for prompt in prompts for text in _looked_at(prompt)])


def may_change(word: str) -> bool:
    return word.lower() not in STOP_WORDS


def _looked_at(prompt: str) -> list[str]:
    words = prompt.split(" ")
    masked = [[*words[:i], "[UNK]", *words[i + 1 :]] for i, word in enumerate(words) if may_change(word)]
    changed = [[*words[:-1], word] for word in CANDIDATES]
    return [" ".join(some) for some in (words, *masked, *changed)]
