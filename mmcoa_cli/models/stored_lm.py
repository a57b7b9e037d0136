"""A masked LM of the store that is loaded when it is asked: its digest, and what it said before, need no torch.

What it said is remembered beside it in `.words`: as JSON with a checksum, and no more than some of it. Whatever lies
there was perhaps not written by us: what is damaged, too large or no JSON is taken for not there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from store.files import read_text
from store.keys import key_of

from .digests import model_digest

if TYPE_CHECKING:
    import torch

    from ..settings import Home
    from .masked_lm import MaskedLM


class StoredLM:
    """The masked LM `name`, which lies in `folder`: there is remembered what it says. It is loaded to `device`."""

    def __init__(self, name: str, home: Home, folder: Path, device: torch.device | None = None) -> None:
        self.name, self._home, self.memory, self._device = name, home, folder, device

    def digest(self) -> str:
        """That of `MaskedLM.digest`."""
        return model_digest(self.memory, name=self.name)

    @cached_property
    def loaded(self) -> MaskedLM:
        """Raises UserError for one that is not what was fetched."""
        from .load import load_mlm

        mlm = load_mlm(self.name, self._home)
        mlm.model.to(self._device)
        return mlm


AnyMaskedLM: TypeAlias = "StoredLM | MaskedLM"  # one that can be loaded, or is


def stored_mlm(name: str, home: Home, device: torch.device | None = None) -> StoredLM:
    """The masked LM `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    from .library import ensure_mlm

    return StoredLM(name, home, ensure_mlm(name, home), device)


WORDS = ".words"
MOST_FILES, MOST_BYTES = 256, 2**24  # so many, each of at most so many bytes


def recall(folder: Path, key: str) -> Any:
    """What is remembered under a key; None for nothing."""
    try:
        document, check = json.loads(read_text(_place(folder, key), most=MOST_BYTES))
        return document if check == key_of(document) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def remember(folder: Path, key: str, document: Any) -> None:
    """Write it in one step; any process may do so at any time. What cannot be written is asked for again."""
    plain = json.loads(json.dumps(document))  # as it will be read
    text, place = json.dumps([plain, key_of(plain)]), _place(folder, key)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    if len(text) > MOST_BYTES:
        return
    try:
        place.parent.mkdir(exist_ok=True)
        partial.write_text(text, encoding="utf8")
        partial.replace(place)
        _forget_oldest(place.parent)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _place(folder: Path, key: str) -> Path:
    return folder / WORDS / f"{key}.json"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in files[:-MOST_FILES]:
        path.unlink(missing_ok=True)
