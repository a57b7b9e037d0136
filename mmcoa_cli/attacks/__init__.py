"""Attacks, by name: a file and a line for each."""

from .base import ATTACKS, Attack, lookup, register
from .clean import CLEAN
from .image import IMAGE
from .multimodal import MULTIMODAL
from .text import TEXT

for _attack in (CLEAN, IMAGE, TEXT, MULTIMODAL):
    register(_attack)

__all__ = ["ATTACKS", "Attack", "lookup", "register"]
