"""Names of datasets and models, and the file names they have in the store."""

from __future__ import annotations

import re

from store.errors import UserError

_LETTERS = re.compile(r"[^A-Za-z0-9._-]")


def store_name(name: str) -> str:
    """The file name of `name`: every character other than a letter, a digit, ".", "_" and "-" becomes "-".

    Raises UserError for a name that would be hidden, or a folder above the store.
    """
    cleaned = _LETTERS.sub("-", name)
    if not cleaned or not cleaned[0].isalnum() or len(cleaned) > 200:
        raise UserError(f"{name!r} cannot be a name", hint="begin it with a letter or a digit, as in mybirds")
    return cleaned
