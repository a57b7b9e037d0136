"""Checkpoints: a folder with model.safetensors, spec.json, and what else makes the weights usable."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .files import replacing
from .keys import digest_file
from .verification import remembered_digest

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, STATE, SPEC = "model.safetensors", "state.safetensors", "spec.json"
SEAL = "seal"  # the hash of all that the specification says before; it is last, but for the first version's digests
DIGESTS = {WEIGHTS: "sha256", STATE: "state_sha256"}  # where the specification records the hash of a file


def save_checkpoint(
    folder: Path,
    *,
    tensors: Mapping[str, Tensor],
    spec: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint; it exists complete or not at all. `state` is the optimizer's, `files` are texts by name."""
    with replacing(folder) as partial:
        partial.mkdir()
        save_tensors(tensors, partial / WEIGHTS)
        if state is not None:
            save_tensors(state, partial / STATE)
        for name, text in (files or {}).items():
            (partial / name).write_text(text, encoding="utf8")
        digests = {name: digest_file(partial / file) for file, name in DIGESTS.items() if (partial / file).exists()}
        _write_spec(partial, {**spec, **digests})


def copy_checkpoint(source: Path, target: Path, *, spec: Mapping[str, Any]) -> None:
    """The checkpoint under another name, with other values of its specification.

    Its files are linked where the disk can: none of a checkpoint is ever written into.
    """
    with replacing(target) as partial:
        partial.mkdir()
        for file in source.iterdir():
            if file.name == SPEC or not file.is_file():  # what is remembered of its files is of these files alone
                continue
            try:
                os.link(file, partial / file.name)
            except OSError:  # not every file system has links
                shutil.copy2(file, partial / file.name)
        _write_spec(partial, {**load_spec(source), **spec})


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """The weights, on the CPU. Raises UserError when they are missing, damaged or not those that were saved."""
    return _load(folder / WEIGHTS)


def load_state(folder: Path) -> dict[str, Tensor] | None:
    """The optimizer's state, on the CPU, or None where it was dropped. Raises UserError as `load_tensors` does."""
    return _load(folder / STATE) if (folder / STATE).exists() else None


def load_spec(folder: Path) -> dict[str, Any]:
    """The specification. Raises UserError when it is missing, damaged or altered."""
    try:
        spec = json.loads((folder / SPEC).read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, str(error)) from error
    if not isinstance(spec, dict):
        raise _damaged(folder, "its specification is no JSON object")
    last = next(reversed(spec), "")
    if last not in DIGESTS.values() and spec.pop(last, "") != _seal(json.dumps(spec, indent=1)):
        raise _damaged(folder, f"{SPEC} was altered")
    return spec


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words, after all of it was read again; None where it is intact."""
    try:
        spec = load_spec(folder)
        texts = spec.get("files", {})  # the hashes that whoever saved it recorded of its other files
        recorded = {WEIGHTS: spec.get(DIGESTS[WEIGHTS]), **(texts if isinstance(texts, dict) else {})}
        if (folder / STATE).exists():
            recorded[STATE] = spec.get(DIGESTS[STATE])
        for name, digest in recorded.items():
            if remembered_digest(folder / name, again=True) != digest:
                return f"{name} is not what was saved"
    except UserError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def drop_state(folder: Path) -> None:
    """Remove the optimizer's state; the weights stay."""
    (folder / STATE).unlink(missing_ok=True)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write safetensors. Raises OSError for a disk that is full, which the library itself does not."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    separate = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(separate, path)  # it refuses tensors that share memory
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if remembered_digest(path) != load_spec(path.parent).get(DIGESTS[path.name]):
            raise _damaged(path.parent, f"{path.name} is not what was saved")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path.parent, str(error)) from error


def _write_spec(folder: Path, spec: Mapping[str, Any]) -> None:
    whole = json.dumps(spec, indent=1)
    (folder / SPEC).write_text(json.dumps({**json.loads(whole), SEAL: _seal(whole)}, indent=1), encoding="utf8")


def _seal(spec: str) -> str:
    return hashlib.sha256(spec.encode()).hexdigest()


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"the checkpoint {folder} cannot be read: {reason}", hint="remove the folder and train again")
