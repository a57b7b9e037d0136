"""The digest of a model: a hash of everything in its folder that decides what it computes.

Of weights it takes the numbers (in whatever file), of configurations the content (in whatever order), of every other
file the bytes, except for those named here. It needs no torch, and reads a file again only when it has changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.checkpoints import DIGESTS, SPEC, STATE, load_spec
from store.checkpoints import WEIGHTS as SAVED_WEIGHTS
from store.errors import UserError
from store.keys import canonical_json, key_of
from store.verification import remembered, remembered_digest

from .. import catalog
from .origins import OWN, RECORD, STAND_IN, read_record

CLIP_CONFIG = "open_clip_config.json"
SCHEME = 2  # raise it when the digest of the same model would change
WEIGHTS, MAX_HEADER = ".safetensors", 2**24
PREFERRED = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
# of no influence: where a model is from, a checkpoint's record, the optimizer's state, texts for people
IRRELEVANT = {RECORD, SPEC, STATE}
FOR_PEOPLE = ("readme", "license", "licence", "notice")
NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip


def files_of(folder: Path) -> dict[str, Path]:
    """Find the files of a model's folder that decide what it computes, by name.

    Of a CLIP that uses open_clip's own tokenizer these are its weights and its configuration.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    named = {name: path for name, path in named.items() if _matters(name)}
    if CLIP_CONFIG in named and not has_own_tokenizer(read_json(named[CLIP_CONFIG])):
        return {name: path for name, path in named.items() if name == CLIP_CONFIG or name.endswith(WEIGHTS)}
    return named


def model_digest(folder: Path, *, name: str = "") -> str:
    """40 hexadecimal digits: equal for folders whose models compute the same. Raises UserError when it cannot be read.

    What a training leaves in its folder has the digest that `Clip.digest` gives of the model that was trained.
    """
    try:
        contents = {file: content_of(path) for file, path in files_of(folder).items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{name or folder.name} cannot be read: {error}", hint=fetch_again(folder, name)) from error
    weights = weights_of(folder)
    others = {file: content for file, content in contents.items() if not file.endswith(WEIGHTS)}
    return digest_of(contents[weights.name] if weights else "", others)


def weights_of(folder: Path) -> Path | None:
    """Find the file of weights that loading reads; None where it would prefer a pickle, or there is no file."""
    found = {path.name: path for path in folder.glob(f"*{WEIGHTS}") if path.is_file()}
    pickled = [*folder.glob("*.bin"), *folder.glob("*.pth")]
    for name in PREFERRED if not pickled else PREFERRED[:2]:
        if name in found:
            return found[name]
    return found[min(found)] if found and not pickled else None


def content_of(path: Path) -> str:
    """The digest of what counts in one file."""
    if path.suffix == WEIGHTS:
        return remembered(path, "tensors", lambda: _digest_tensors(path))
    config = read_json(path) if path.name.endswith("config.json") else None
    return remembered_digest(path) if config is None else digest_of_config(config)


def has_own_tokenizer(config: Any) -> bool:
    """Tell from a CLIP's configuration whether it has a tokenizer in files of its own, instead of open_clip's."""
    model = config.get("model_cfg") if isinstance(config, dict) else None
    text = model.get("text_cfg") if isinstance(model, dict) else None
    return bool(isinstance(text, dict) and text.get("hf_tokenizer_name"))


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where it is not JSON, which loading the model refuses."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return None


def digest_of(weights: str, others: Mapping[str, str]) -> str:
    """The digest of a model by the digest of its tensors and those of its other files."""
    return key_of({"scheme": SCHEME, "weights": weights, "files": dict(others)})


def digest_of_config(config: Any) -> str:
    """Of the content of a configuration."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()


def verify(folder: Path, *, name: str) -> None:
    """Raises UserError when a file of a model is not what was fetched, as its record says."""
    recorded = dict(read_record(folder, name=name).files)
    if (folder / SPEC).is_file():  # of a checkpoint, which records its weights
        recorded[SAVED_WEIGHTS] = str(load_spec(folder).get(DIGESTS[SAVED_WEIGHTS], ""))
    for file, expected in recorded.items():
        path = folder / file
        if not path.is_file():
            raise UserError(f"{file} of {name} is missing from the store", hint=fetch_again(folder, name))
        if remembered_digest(path) != expected:
            raise UserError(f"{file} of {name} was altered since it was fetched", hint=fetch_again(folder, name))
    unknown = sorted(set(files_of(folder)) - set(recorded)) if recorded.keys() & {CLIP_CONFIG, "config.json"} else []
    if unknown:
        raise UserError(f"{unknown[0][:80]} was added to {name} since it was fetched", hint=fetch_again(folder, name))


def record_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file that decides what the model computes, for its record."""
    return {file: remembered_digest(path) for file, path in files_of(folder).items()}


def fetch_again(folder: Path, name: str) -> str:
    """Say what to type to have a model as it was; that depends on where it is from."""
    name, origin = name or folder.name, read_record(folder).origin
    if folder.name.startswith("epoch-"):
        return f"mmcoa train --resume {folder.parent.name}"
    if origin.kind == STAND_IN and name not in {**catalog.models(), **catalog.mlms()}:
        return f"remove {folder}, and train it again: mmcoa pretrain --name {name} ..."
    return f"mmcoa fetch {name} --replace{' --from PATH' if origin.kind == OWN else ''}"


def _matters(name: str) -> bool:
    own = name.rsplit("/", 1)[-1].lower()
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not (hidden or name in IRRELEVANT or own.startswith(FOR_PEOPLE) or own.endswith((".md", ".lock")))


def _digest_tensors(path: Path) -> str:
    """What `store.keys.digest_arrays` gives of the tensors of a safetensors file, without loading them."""
    digest = hashlib.sha256()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = 8 + int.from_bytes(content[:8], "little")
        if start > MAX_HEADER:
            raise ValueError(f"the header of {path.name} claims {start:,} bytes")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        with memoryview(content) as numbers:
            for name in sorted(header):
                about = header[name]
                begin, end = about["data_offsets"]
                if start + end > len(content) or end - begin < math.prod(about["shape"]):
                    raise ValueError(f"{path.name} is cut off")
                with numbers[start + begin : start + end] as part:
                    dtype, held = _as_computed(about["dtype"], part)
                    digest.update(canonical_json([name, dtype, about["shape"]]).encode())
                    digest.update(held)
                    del held
    return digest.hexdigest()


def _as_computed(dtype: str, part: memoryview) -> tuple[str, Any]:
    """The numbers of a tensor as a loaded model has them, which computes in float32."""
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        return "<f4", (np.frombuffer(part, "<u2").astype("<u4") << 16).data
    if dtype in ("F16", "F64"):
        return "<f4", np.frombuffer(part, NUMPY[dtype]).astype("<f4").data
    return NUMPY.get(dtype, dtype), part
