"""Which names somebody may have meant who typed one that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

LEAST = 0.55  # of the likeness of two names, which is 1 where they are the same
AS_GOOD = 0.15  # below the nearest: what is further off than that was not meant


def near(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """The one of `known` that `name` is but for capitals, else those that begin with it, else those that are nearest to
    it; each once, the nearest first."""
    typed, found = name.lower(), dict[str, float]()
    for one in known:
        if one.lower() == typed:
            return [one]
        found.setdefault(one, SequenceMatcher(None, one.lower(), typed).ratio())
    if begun := [one for one in found if one.lower().startswith(typed)]:
        found = {one: found[one] for one in begun}
    least = max(LEAST, max(found.values(), default=0.0) - AS_GOOD)
    return sorted((one for one in found if found[one] >= least), key=lambda one: -found[one])[:most]
