"""What may stand in a name, and how the rest is shown: nothing that a terminal obeys or that hides from the eye."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"  # Persian, the scripts of India and emoji are spelled with them
# control (C0, C1), format (bidirectional overrides, zero width), surrogates, line and paragraph separators
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_printable(text: str) -> bool:
    """Whether every character of `text` is seen as itself: no control, no newline, no bidi override, no surrogate."""
    return (text.isascii() and text.isprintable()) or not any(map(_hidden, text))


def visible(text: str, *, keep: str = "") -> str:
    """`text` with every character that is not printable, but for those in `keep`, written as Python does: \\x1b."""
    if is_printable(text):
        return text
    return "".join(_shown(sign) if _hidden(sign) and sign not in keep else sign for sign in text)


def _hidden(sign: str) -> bool:
    return unicodedata.category(sign) in HIDDEN and sign not in JOINERS


def _shown(sign: str) -> str:
    return sign.encode("unicode_escape", "backslashreplace").decode("ascii")
