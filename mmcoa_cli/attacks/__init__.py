"""Attacks, by name: a file and a line for each."""

from .autoattack import AUTOATTACK
from .base import ATTACKS, Attack, lookup, register
from .clean import CLEAN
from .co_attack import CO_ATTACK, CO_ATTACK_SET
from .embedding import EMBEDDING
from .image import IMAGE
from .multimodal import MULTIMODAL
from .sga import SGA, SGA_TEXT
from .text import TEXT

for _attack in (CLEAN, IMAGE, TEXT, MULTIMODAL, CO_ATTACK, CO_ATTACK_SET, SGA_TEXT, SGA, AUTOATTACK, EMBEDDING):
    register(_attack)

__all__ = ["ATTACKS", "Attack", "lookup", "register"]
