"""A file of weights of any form that people have: its tensors by name, under the entry they lie in."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import UserError

from .plain_pickle import Inert
from .safetensors_file import looks_like_safetensors, read_safetensors
from .tensors import NotWeights, Weight, mapped
from .torch_file import looks_like_torch, read_torch

MAX_NAMES, MAX_TENSORS, MAX_DEPTH = 200_000, 20_000, 64  # the largest CLIP has two thousand tensors
OTHERS = {
    b"PK": "a zip archive", b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "a NumPy file", b"GGUF": "a GGUF file",
    b"\x1f\x8b": "gzip-compressed", b"BZh": "bzip2-compressed", b"\xfd7zXZ": "xz-compressed",
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """What a file holds. `entries` are its dictionaries of tensors by where they lie ("" is the file itself,
    "state_dict" an entry of it), `form` is the file's in words, `kinds` the classes that it names."""

    path: Path
    form: str
    entries: dict[str, dict[str, Weight]]
    kinds: frozenset[str]

    @property
    def tensors(self) -> int:
        return sum(map(len, self.entries.values()))


@contextmanager
def open_weights(path: Path, *, title: str = "", hint: str = "") -> Iterator[Weights]:
    """The tensors of `path`, to be read while the context lasts.

    Raises UserError, under `title` if it is given, for what is no file of weights.
    """
    title = title or path.name
    with mapped(path, title=title, hint=hint) as content:
        try:
            yield _opened(path, content)
        except NotWeights as error:
            told = f"{title} cannot be taken over: {error}; none of it was run"
            raise UserError(told, hint=hint or _hint(path)) from error


def _opened(path: Path, content: mmap.mmap) -> Weights:
    if looks_like_torch(content):
        read = read_torch(content)
        form = "a TorchScript archive" if read.script else "a PyTorch file"
        weights = Weights(path, form, _entries(read.tree), read.kinds)
    elif looks_like_safetensors(content):
        weights = Weights(path, "safetensors", {"": read_safetensors(content)}, frozenset())
    else:
        what = next((what for begin, what in OTHERS.items() if content[: len(begin)] == begin), "")
        what = "a tar archive" if content[257:262] == b"ustar" else what
        raise NotWeights(f"it is {what}" if what else "it is neither safetensors nor a PyTorch file, or it is damaged")
    if not any(weights.entries.values()):
        raise NotWeights(f"it is {weights.form} without a tensor under a name")
    if weights.tensors > MAX_TENSORS:
        raise NotWeights(f"it has {weights.tensors:,} tensors, far more than a model")
    return weights


def _hint(path: Path) -> str:
    save = "torch.save({k: v for k, v in model.state_dict().items()}, 'weights.pt')"
    return f"where {path.name} was made, save the model's state dictionary alone: {save}"


def _entries(tree: Any) -> dict[str, dict[str, Weight]]:
    """Every dictionary (or module) in `tree` that holds tensors by name."""
    found: dict[str, dict[str, Weight]] = {}
    if isinstance(tree, Inert):
        found[""] = _of_module(tree)
        return found
    waiting: list[tuple[str, Any]] = [("", tree)]
    for where, node in waiting:  # it grows
        if len(waiting) > MAX_NAMES:
            raise NotWeights("it holds far more than weights")
        if isinstance(node, Inert):
            found[where] = _of_module(node)
        elif isinstance(node, Mapping):
            found[where] = {key: value for key, value in node.items() if isinstance(value, Weight) and _is_name(key)}
            if where.count("/") < 2:
                below = ((f"{where}/{key}".lstrip("/"), value) for key, value in node.items() if _is_name(key))
                waiting += [(name, value) for name, value in below if isinstance(value, (Mapping, Inert))]
    return {where: tensors for where, tensors in found.items() if tensors}


def _of_module(module: Inert) -> dict[str, Weight]:
    """The state dictionary of a pickled or scripted module, by the names that PyTorch would give it."""
    found: dict[str, Weight] = {}
    waiting = [("", module)]
    for prefix, node in waiting:
        if len(waiting) > MAX_NAMES or prefix.count(".") > MAX_DEPTH:
            raise NotWeights("it holds far more than weights")
        state = node.state
        parts = [state.get(part) for part in ("_parameters", "_buffers", "_modules")]
        own = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()} if any(parts) else state
        for key, value in own.items():
            if isinstance(value, Weight):
                found[f"{prefix}{key}"] = value
            elif isinstance(value, Inert):
                waiting.append((f"{prefix}{key}.", value))
    return found


def _is_name(key: object) -> bool:
    return isinstance(key, str) and len(key) <= 500
