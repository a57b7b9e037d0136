"""`--compat`: what of the paper's released code is done as that does it, in parts that can be asked for one by one.

`release` is the bundle of all that it does otherwise to make weights and examples, `text` that of its text attack. How
it counts a tie is no part of them: it makes no other example, and is asked for beside ("release,ties").
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from store.errors import UserError

NONE, RELEASE, TEXT = "none", "release", "text"
LEAK, POSITIONS, CASE, WORDS, SINGLE, TIES = "leak", "positions", "case", "words", "single", "ties"
PARTS = {
    LEAK: "the gradients of training's image attack are added to the update",
    POSITIONS: "a word's candidates are read one token to its left",
    CASE: 'stop words are compared with their case ("This" may be replaced)',
    WORDS: "a word is what stands between two spaces, may become several, and is read as BERT's tokenizer writes it",
    SINGLE: "divergences are summed in single precision",
    TIES: "the first class wins a tie",
}
OF_TEXT = (POSITIONS, CASE, WORDS, SINGLE)  # of the text attack
OF_TRAINING, OF_TEST = (LEAK, *OF_TEXT), (*OF_TEXT, TIES)
BUNDLES = {NONE: (), RELEASE: OF_TRAINING, TEXT: OF_TEXT}
CHOICES = (*BUNDLES, *PARTS)
LONGEST = 20  # letters that the index has for that of a run


@lru_cache
def parts(compat: str) -> frozenset[str]:
    """What is done as the release does it. Raises UserError for an unknown word."""
    found: set[str] = set()
    for name in filter(None, (word.strip() for word in compat.split(","))):
        if name not in CHOICES:
            raise UserError(f"--compat {name} is unknown", hint=f"--compat takes {', '.join(CHOICES)}")
        found |= {*BUNDLES.get(name, (name,))}
    return frozenset(found)


def written(found: Collection[str], **bundles: Collection[str]) -> str:
    """The one form of these parts: "none", "positions,case"; the name of the first of `bundles` that they have all of
    instead of its parts."""
    name = next((name for name, bundle in bundles.items() if {*bundle} <= {*found}), "")
    own = [name] if name else []
    return ",".join([*own, *(part for part in PARTS if part in found and part not in bundles.get(name, ()))]) or NONE


def of_text(compat: str) -> str:
    """What of it is the text attack's."""
    return written(parts(compat) & {*OF_TEXT}, release=OF_TEXT)


def of_training(compat: str, *, image: bool, text: bool) -> str:
    """What of it a training run has a use for, whose steps attack images, prompts, or both; the bundle stays one.

    Raises UserError for more parts than the index can name.
    """
    found = parts(compat) & {*OF_TRAINING}
    if found != {*OF_TRAINING}:
        found &= {*([LEAK] if image else ()), *(OF_TEXT if text else ())}
    told = written(found, release=OF_TRAINING, text=OF_TEXT)
    if len(told) > LONGEST:
        raise UserError(f"--compat {told} is more than a run can be told by", hint="--compat text, or --compat release")
    return told


def of_test(compat: str, *, text: bool) -> str:
    """What of it a test has a use for, whose attacks change texts or do not; the bundle stays one."""
    found = parts(compat)
    if not {*OF_TRAINING} <= found and not text:
        found -= {*OF_TEXT}
    return written(found & {*OF_TEST}, release=OF_TEXT)
