"""A checkpoint of a wrapper: only its own tensors are stored, and a record of which victim they belong around.

The record `wrapper.json` beside them names the base with its digest, and the wrapper with its version and settings.
Importing this module does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from store.checkpoints import WEIGHTS
from store.errors import UserError
from store.keys import digest_arrays, key_of

from .digests import content_of, model_digest

WRAPPER = "wrapper.json"


@dataclass(frozen=True)
class WrapperRecord:
    """The wrapper `name` around `base` (a model or a run), whose digest was `base_digest`."""

    name: str
    version: int
    base: str
    base_digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def digest(self, tensors: str | None = None) -> str:
        """The digest of the wrapped victim, by that of the wrapper's tensors; None where nothing in it is trained."""
        tensors = digest_arrays({}) if tensors is None else tensors
        return key_of([self.base_digest, self.name, self.version, dict(self.settings), tensors])


def has_record(folder: Path) -> bool:
    return (folder / WRAPPER).is_file()


def read_wrapper_record(folder: Path) -> WrapperRecord:
    """The record beside a wrapper's tensors. Raises UserError for one that is none."""
    try:
        document = json.loads((folder / WRAPPER).read_text(encoding="utf8"))
        found = WrapperRecord(**document)
        texts = (found.name, found.base, found.base_digest)
        if not all(isinstance(text, str) for text in texts) or not isinstance(found.settings, dict):
            raise ValueError("it is no record of a wrapper")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{folder / WRAPPER} cannot be read: {error}", hint="remove the folder") from error
    return found


def checkpoint_digest(folder: Path, *, name: str = "") -> str:
    """The digest of the victim that a checkpoint gives, a model's own or a wrapper's. Raises UserError."""
    if not has_record(folder):
        return model_digest(folder, name=name)
    try:
        return read_wrapper_record(folder).digest(content_of(folder / WEIGHTS))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{name or folder.name} cannot be read: {error}", hint="remove the folder") from error
