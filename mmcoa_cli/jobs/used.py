"""Which options an attack and a method use.

One table for all who ask: an option that nothing would use is refused when typed, never printed in a command, and not
compared when a result is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import catalog

IMAGE = ("norm", "eps", "alpha", "steps", "stop_when_fooled")
TEXT = ("mlm", "no_collisions")
OF_ATTACK = {"clean": (), "image": IMAGE, "text": TEXT, "multimodal": (*IMAGE, *TEXT)}
NAMES = {"mlm"}  # it names a model as --model does, and may stand where none is used: no result depends on it there
# what training uses them for: the attacks of the method's catalog row; and what every method that trains uses
IN_TRAINING = {"image": ("eps", "alpha", "steps"), "text": ("mlm", "contrast", "image_weight", "text_weight")}
OF_TRAINING = ("shots", "epochs", "lr", "tune", "batch_size")
AFTER_TRAINING = ("mlm", "eps", "alpha", "batch_size")  # of the test that a training run ends with


def unused_in_test(attacks: Iterable[str]) -> frozenset[str]:
    """The options of attacks that none of these has."""
    used = {name for attack in attacks for name in OF_ATTACK[attack]}
    return frozenset(IMAGE + TEXT) - used


def unused_in_training(method: str, *, tested: bool) -> frozenset[str]:
    """The options of training that a method does not have, and that its test afterwards, if any, does not either."""
    row = catalog.lookup(catalog.methods(), method, "method")
    used = {name for attack in row.attacks for name in IN_TRAINING[attack]}
    used |= {*(OF_TRAINING if row.loss else ()), *(AFTER_TRAINING if tested else ())}
    every = {*OF_TRAINING, *(name for names in IN_TRAINING.values() for name in names)}
    return frozenset(every - used)
