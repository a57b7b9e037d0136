"""Keys: hashes of whole specifications, and of the arrays and files they name."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # listing what is stored takes a third of the time without
    import numpy as np


def canonical_json(spec: object) -> str:
    """`spec` (dataclasses, dicts, sequences, text, numbers, None) as JSON that is equal for equal specifications.

    Raises TypeError for anything else, and ValueError for numbers that are not finite.
    """
    return json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def key_of(spec: object) -> str:
    """40 hexadecimal digits of SHA-256 over the canonical JSON."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:40]


def digest_arrays(named: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, whatever the order of the mapping."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(named):
        array = named[name]
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a specification are text")
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a specification holds finite numbers")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"a specification cannot hold a {type(value).__name__}")
