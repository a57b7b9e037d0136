"""Names of datasets, models and classes: what may stand in them, and the file names they have in the store."""

from __future__ import annotations

import re
from collections.abc import Iterable

from store.errors import UserError
from store.near import near
from store.printable import is_printable, visible

_LETTERS = re.compile(r"[^A-Za-z0-9._-]")
LONGEST = 200


def store_name(name: str) -> str:
    """The file name of `name`: every character other than a letter, a digit, ".", "_" and "-" becomes "-".

    Raises UserError for a name of a hidden file or of a folder above the store, or one that does not print as it is.
    """
    require_printable(name, "the name")
    cleaned = _LETTERS.sub("-", name)
    if len(cleaned) > LONGEST:
        shown = f"{name[:20]}... ({len(name):,} characters)"
        raise UserError(f"{shown!r} cannot be a name", hint=f"a name has at most {LONGEST} characters")
    if not cleaned or not cleaned[0].isalnum():
        hint = "begin it with a letter from a to z or a digit, as in mybirds"
        raise UserError(f"{name!r} cannot be a name", hint=hint)
    return cleaned


def require_printable(text: str, what: str) -> str:
    """`text` itself. Raises UserError, which begins with `what`, for what a terminal obeys or does not show: a
    control character, a newline, a bidi override, half of a surrogate pair."""
    if is_printable(text):
        return text
    signs = " ".join(dict.fromkeys(shown for sign in text if (shown := visible(sign)) != sign))
    raise UserError(
        f"{what} '{visible(text)}' has characters that do not print ({signs})", hint="rename it: letters, digits, marks"
    )


def meant(name: str, known: Iterable[str]) -> str:
    """A question that names those of `known` that `name` is close to; empty where it is close to none."""
    close = near(name, known)
    return f"did you mean {' or '.join(close)}?" if close else ""
