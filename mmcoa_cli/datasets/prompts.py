"""Class prompts: "This is a photo of a {class}", with the class name as the paper cleans it.

open_clip's tokenizers mend a text before they read it: Unicode composed (NFC), HTML entities decoded, typographic
quotes and ligatures made plain, space collapsed. Prompts are mended here in the same way, so that the masked LM, the
example sets and the reader have the text that the model sees, and names that it cannot tell apart are equal here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

ROUNDS = 4  # an entity of an entity of an entity


@lru_cache(maxsize=4096)  # a dataset asks for the same few names once an image
def clean_name(name: str) -> str:
    """A class name as prompts hold it: mended, lower case, "_", "-" and "/" as spaces."""
    return clean_text(clean_text(name).lower().translate(str.maketrans("_-/", "   ")))


def clean_text(text: str) -> str:
    """The text as open_clip's tokenizers mend it: what they make of this they leave as it is."""
    for _ in range(ROUNDS):
        mended = " ".join(_mended(text).split())
        if mended == text:
            break
        text = mended
    return text


def _mended(text: str) -> str:
    """Plain characters as they are: most names have no other, and ftfy takes long to load."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    from html import unescape

    from ftfy import fix_text

    return unescape(unescape(fix_text(text)))


def class_prompts(class_names: Sequence[str], template: str) -> list[str]:
    """One prompt a class, in class order."""
    return [clean_text(template.replace("{}", clean_name(name))) for name in class_names]
