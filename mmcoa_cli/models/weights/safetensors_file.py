"""The safetensors format: a JSON header that says where each tensor lies."""

from __future__ import annotations

import json
import math
import mmap
from functools import partial
from typing import Any

import torch

from .tensors import NotWeights, Weight, sizes, strided

MAX_HEADER = 2**24  # bytes; that of the largest CLIP has a hundred thousand
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def looks_like_safetensors(content: mmap.mmap) -> bool:
    """Whether the bytes begin as the format does: the header's length, then a brace."""
    return len(content) > 8 and content[8:9] == b"{"


def read_safetensors(content: mmap.mmap) -> dict[str, Weight]:
    """The tensors by name. Raises NotWeights for what is damaged or claims more than the file holds."""
    length = int.from_bytes(content[:8], "little")
    if length > min(MAX_HEADER, len(content) - 8):
        raise NotWeights(f"its header claims {length:,} bytes")
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise NotWeights(f"its header is damaged: {str(error)[:100]}") from error
    if not isinstance(header, dict):
        raise NotWeights("its header is damaged")
    header.pop("__metadata__", None)
    return {name: _weight(content, 8 + length, name, entry) for name, entry in header.items()}


def _weight(content: mmap.mmap, start: int, name: str, entry: Any) -> Weight:
    try:
        dtype, shape = DTYPES.get(entry["dtype"]), sizes(entry["shape"])
        begin, end = sizes(entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise NotWeights(f"its header does not describe {name[:80]!r}") from error
    if dtype is None:
        raise NotWeights(f"{name[:80]} is of the type {str(entry['dtype'])[:20]}, and only plain numbers are taken")
    if end - begin != math.prod(shape) * dtype.itemsize or start + end > len(content):
        raise NotWeights(f"{name[:80]} does not lie where its header says")
    stride = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return Weight(shape, dtype, partial(strided, content, start + begin, dtype, shape=shape, stride=stride))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it names a tensor twice")
    return found
