"""What a word is to the text attack: without the punctuation that is attached to it, which stays where it was.

Punctuation is what BERT's tokenizer sets apart: every ASCII sign that is no letter or digit, and Unicode's own classes
of it. Inside a word ("don't", "t-shirt") it belongs to the word.
"""

from __future__ import annotations

import unicodedata


def parted(word: str, *, whole: bool = False) -> tuple[str, str, str]:
    """The punctuation before a word, the word, and what is behind: "(cat)." is "(", "cat", ")."; of "..." only the
    first is not empty. With `whole` it all counts as the word."""
    if whole:
        return "", word, ""
    ends = [i for i, sign in enumerate(word) if not is_punctuation(sign)]
    if not ends:
        return word, "", ""
    return word[: ends[0]], word[ends[0] : ends[-1] + 1], word[ends[-1] + 1 :]


def replaced(old: str, new: str, *, whole: bool = False) -> str:
    """The word `new` with the punctuation of `old`."""
    before, _, behind = parted(old, whole=whole)
    return before + new + behind


def bare(word: str) -> str:
    """A word without punctuation at its ends; what is nothing else stays."""
    return parted(word)[1] or word


def is_punctuation(sign: str) -> bool:
    """As BERT's tokenizer has it."""
    kind = unicodedata.category(sign)
    return kind.startswith("P") or (sign.isascii() and kind.startswith("S"))
