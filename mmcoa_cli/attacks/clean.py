"""No attack: what all others are measured against."""

from __future__ import annotations

from .base import Attack

CLEAN = Attack("clean", title="no attack", usual=True)
