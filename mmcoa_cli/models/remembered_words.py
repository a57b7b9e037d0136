"""What a masked LM said, remembered beside it in `.words`: as JSON with a checksum, and no more than some of it.

Whatever lies there was perhaps not written by us: what is damaged, too large or no JSON is taken for not there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.files import read_text
from store.keys import key_of

FOLDER = ".words"
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
    return folder / FOLDER / f"{key}.json"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in files[:-MOST_FILES]:
        path.unlink(missing_ok=True)
