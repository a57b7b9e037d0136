"""Which options an attack and a method use.

One table for all who ask: an option that nothing would use is refused when typed, never printed in a command, and not
compared when a result is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import catalog
from ..attacks.base import needs_masked_lm
from .training_spec import options_of

IMAGE = ("norm", "eps", "alpha", "steps", "stop_when_fooled")
TEXT = ("mlm", "no_collisions")
OF_ATTACK = {"clean": (), "image": IMAGE, "text": TEXT, "multimodal": (*IMAGE, *TEXT)}
NAMES = {"mlm"}  # it names a model as --model does, and may stand where none is used: no result depends on it there
OF_TRAINING = ("shots", "epochs", "lr", "tune", "batch_size", "optimizer")  # of every method that trains
AFTER_TRAINING = ("mlm", "eps", "alpha", "batch_size")  # of the test that a training run ends with


def unused_in_test(attacks: Iterable[str]) -> frozenset[str]:
    """The options of attacks that none of these has."""
    used = {name for attack in attacks for name in OF_ATTACK[attack]}
    return frozenset(IMAGE + TEXT) - used


def unused_in_training(method: str, *, tested: bool) -> frozenset[str]:
    """The options of training that a method does not have, and that its test afterwards, if any, does not either."""
    row = catalog.lookup(catalog.methods(), method, "method")
    used = {*options_of(row), *(OF_TRAINING if row.loss else ()), *(AFTER_TRAINING if tested else ())}
    used |= {"mlm"} if needs_masked_lm(row.attacks) else set()
    every = {*OF_TRAINING, *(name for method in catalog.methods().values() for name in options_of(method)), "mlm"}
    return frozenset(every - used)
