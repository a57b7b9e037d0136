"""`--compat`: what of the paper's released code is done as that does it, in parts that can be asked for one by one.

`release` is the bundle of all that it does otherwise to make weights and examples. How it counts a tie is no part of
that: it makes no other example, and is asked for beside it ("release,ties").
"""

from __future__ import annotations

from collections.abc import Collection

from store.errors import UserError

NONE, RELEASE = "none", "release"
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
CHOICES = (NONE, RELEASE, *PARTS)


def parts(compat: str) -> set[str]:
    """What is done as the release does it. Raises UserError for an unknown word."""
    found: set[str] = set()
    for name in filter(None, (word.strip() for word in compat.split(","))):
        if name not in CHOICES:
            raise UserError(f"--compat {name} is unknown", hint=f"--compat takes {', '.join(CHOICES)}")
        found |= {*OF_TRAINING} if name == RELEASE else {name} - {NONE}
    return found


def written(found: Collection[str], *, bundle: Collection[str]) -> str:
    """The one form of these parts: "none", "positions,case"; "release" instead of all that are in a bundle."""
    whole = bool(bundle) and {*bundle} <= {*found}
    names = [RELEASE] * whole + [name for name in PARTS if name in found and not (whole and name in bundle)]
    return ",".join(names) or NONE


def of_text(compat: str) -> str:
    """What of it is the text attack's."""
    return written(parts(compat) & {*OF_TEXT}, bundle=OF_TEXT)


def of_training(compat: str, *, image: bool, text: bool) -> str:
    """What of it a training run has a use for, whose steps attack images, prompts, or both; the bundle stays one."""
    found = parts(compat) & {*OF_TRAINING}
    if found != {*OF_TRAINING}:
        found &= {*([LEAK] if image else ()), *(OF_TEXT if text else ())}
    return written(found, bundle=OF_TRAINING)


def of_test(compat: str, *, text: bool) -> str:
    """What of it a test has a use for, whose attacks change texts or do not; the bundle stays one."""
    found = parts(compat)
    if not {*OF_TRAINING} <= found and not text:
        found -= {*OF_TEXT}
    return written(found & {*OF_TEST}, bundle=OF_TEXT)
