"""Take a CLIP from a file or folder of any form: find its architecture, check its weights, write ours.

Its shapes are compared with those in the file before memory is taken for either.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from store.checkpoints import save_tensors
from store.errors import UserError

from ..catalog import ModelRow
from .architectures import activation, shapes_of
from .digests import CLIP_CONFIG, read_json, weights_of
from .finite import all_finite
from .from_transformers import acts_quick, is_transformers_config, open_clip_config
from .published import architecture_config, published, similar
from .weights.files import Weights, open_weights
from .weights.fitting import Fit, encoders, fit, misfit, missing
from .weights.tensors import Weight
from .weights.transformers_names import is_transformers

CLIP_WEIGHTS = "open_clip_model.safetensors"
SLACK, NEARLY = 2**20, 0.8  # bytes; the share of its tensors that makes a file an incomplete one of that model


@dataclass(frozen=True)
class Architecture:
    """`config` is the content of open_clip_config.json; `said_by` says where its activation is known from."""

    config: dict[str, Any]
    said_by: str
    guess: bool = False


@dataclass(frozen=True)
class Base:
    """The CLIP of the store that completes a file with one encoder."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Request:
    """What `fetch` was asked for: a name, the file or folder, and what describes its content."""

    row: ModelRow
    source: Path
    base: Base | None = None
    arch: str = ""
    config: dict[str, Any] | None = None  # of a published model

    @property
    def name(self) -> str:
        return self.row.name


def take(request: Request, weights: Path, target: Path) -> dict[str, Any]:
    """Write configuration and weights of a CLIP into the folder `target`; returns what was understood.

    Raises UserError for weights that are not all of one model's, or not finite.
    """
    with open_weights(weights) as opened:
        architecture = _architecture(request, opened)
        shapes = shapes_of(architecture.config, name=request.name)
        best = fit(opened, shapes)
        completed = _completed_by(request, best, shapes, opened)
        (target / CLIP_CONFIG).write_text(json.dumps(architecture.config, indent=2), encoding="utf8")
        if _is_ours(best, opened, shapes) and not completed:
            for name, weight in best.taken.items():
                _finite(name, weight, request)
            shutil.copyfile(weights, target / CLIP_WEIGHTS)
        else:
            _require_room(best, opened)
            _write(best, completed, request, target / CLIP_WEIGHTS)
        told = _taken(best, opened, request, completed)
    act = activation(architecture.config) + (", a guess" if architecture.guess else "")
    return {"taken": told, "activation": act, "activation_from": architecture.said_by}


def config_beside(source: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Read open_clip's and transformers' configuration in a folder or beside a file. Raises UserError."""
    folder = source if source.is_dir() else source.parent
    ours = _config(folder / CLIP_CONFIG)
    if ours is not None and not isinstance(ours.get("model_cfg"), dict):
        raise UserError(f'{CLIP_CONFIG} has no "model_cfg"', hint="see open_clip's documentation of local folders")
    theirs = read_json(folder / "config.json") if (folder / "config.json").is_file() else None
    return ours, theirs if is_transformers_config(theirs) else None


def _config(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path.name} is damaged: it is no JSON object", hint="copy the model's folder again")
    return config


def _architecture(request: Request, weights: Weights) -> Architecture:
    """Find the architecture by what is most explicit: --arch, a configuration, the base, the name, the file."""
    ours, theirs = config_beside(request.source)
    if request.config is not None:
        return Architecture(request.config, "the published model")
    if request.arch:
        return _named(request, ours, theirs)
    if request.base is not None:
        return _of_base(request, request.base, ours, theirs)
    if ours is not None:
        return Architecture(ours, CLIP_CONFIG)
    if theirs is not None and theirs["model_type"] == "clip":
        folder = request.source if request.source.is_dir() else request.source.parent
        return Architecture(open_clip_config(theirs, folder, name=request.name), "config.json")
    return _by_name(request, weights)


def _named(request: Request, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> Architecture:
    if request.base is not None:
        raise UserError("--arch and --base both say the architecture", hint="give one of them")
    if request.source.is_dir() and (ours or theirs):
        raise UserError(f"{request.source.name} says itself what architecture it is", hint="leave --arch out")
    row = ModelRow(request.arch)
    if ":" in request.arch:
        return Architecture(published(row).config, f"the tag {request.arch}")
    known = request.arch.endswith("-quickgelu")
    return Architecture(architecture_config(row), f"--arch {request.arch}", guess=not known)


def _of_base(
    request: Request, base: Base, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None
) -> Architecture:
    config = _config(base.folder / CLIP_CONFIG)
    if config is None:
        raise UserError(f"{base.name} is no CLIP", hint="--base takes a CLIP: mmcoa list models")
    quick = bool(config["model_cfg"].get("quick_gelu"))
    stated = bool(ours["model_cfg"].get("quick_gelu")) if ours else None
    stated = acts_quick(theirs, name=request.name) if theirs else stated
    if stated is not None and stated != quick:
        word = {True: "QuickGELU", False: "GELU"}
        raise UserError(
            f"the configuration of {request.name} says {word[stated]}, and {base.name} has {word[quick]}",
            hint="complete it with the CLIP that it was made from: --base MODEL",
        )
    return Architecture(config, f"{base.name}, which completes it")


def _by_name(request: Request, weights: Weights) -> Architecture:
    """Find it by a name of the catalog or ARCH:TAG; of OpenAI's archives by their shapes."""
    row = request.row
    if row.architecture or ":" in row.name:
        try:
            return Architecture(published(row).config, f"the name {row.name}")
        except UserError:
            return Architecture(architecture_config(row), f"the name {row.name}", guess=True)
    likely = similar(weights)
    if weights.form == "a TorchScript archive" and likely:
        plain = next(name for name in likely if not name.endswith("-quickgelu"))
        quick = any("QuickGELU" in kind for kind in weights.kinds)
        config = published(ModelRow(f"{plain}:openai")).config
        said_by = "the archive, in which it is named" if quick else "OpenAI's form of file"
        return Architecture(config, said_by, guess=not quick)
    raise _unknown(request, weights, likely)


def _unknown(request: Request, weights: Weights, likely: list[str]) -> UserError:
    again = f"mmcoa fetch {request.name} --from {request.source}"
    options = " or ".join(f"--arch {name}:TAG" for name in likely[:3])
    seen = f"its shapes are those of {' and '.join(likely[:3])}: " if likely else ""
    return UserError(
        f"{weights.path.name} does not say what architecture it is of",
        hint=f"{seen}{again} {options or '--arch ARCH:TAG'} (the tag that it was trained from: openai, "
        "laion2b_s34b_b79k, ...); for an image encoder alone --base MODEL; or put its open_clip_config.json beside it",
    )


def _completed_by(request: Request, best: Fit, shapes: Mapping[str, tuple[int, ...]], weights: Weights) -> list[str]:
    """Take the missing weights from the base. Raises UserError unless all are there then, and none is too many."""
    lacking, parts = set(missing(best, shapes)), encoders(shapes)
    whole = next((kind for kind, names in parts.items() if lacking >= names and not names & best.taken.keys()), "")
    other = parts[whole] if whole else set()
    scales = lacking - other
    alone = bool(whole) and best.found > 0 and not (scales - {"logit_scale", "logit_bias"})
    reason = misfit(best, shapes)
    if request.base is not None and not lacking and not reason:
        raise UserError(
            f"{weights.path.name} holds both encoders, and {request.base.name} would be ignored",
            hint="leave --base out, and put its open_clip_config.json beside the file, or say --arch",
        )
    if not alone or best.misshapen or best.unexpected:
        if reason:
            raise UserError(
                f"{weights.path.name} is not {_model(request)}: {reason}",
                hint=_other(request, weights, nearly=best.found > len(shapes) * NEARLY),
            )
        return []
    if request.base is None:
        kind = "image" if whole == "text" else "text"
        raise UserError(
            f"{weights.path.name} holds only the {kind} encoder: all {len(other)} weights of the {whole} encoder are "
            "missing",
            hint=f"name the CLIP that completes it, the one it was made from: mmcoa fetch {request.name} --from "
            f"{request.source} --base MODEL",
        )
    return sorted(lacking)


def _model(request: Request) -> str:
    if request.arch or request.base:
        return request.arch or (request.base.name if request.base else "")
    return "the model that its configuration describes" if any(config_beside(request.source)) else request.name


def _other(request: Request, weights: Weights, *, nearly: bool) -> str:
    if nearly:
        return "save the whole state dictionary of that model again; nothing that is missing is made up"
    likely = similar(weights)
    if likely:
        return f"its shapes are those of {' and '.join(likely[:3])}: --arch {likely[0]}:TAG, or --base for one encoder"
    return "--arch ARCH:TAG names another architecture; open_clip.list_models() has all"


def _is_ours(best: Fit, weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether the file can be copied as it is: safetensors with open_clip's names, in float32."""
    (tensors,) = weights.entries.values() if len(weights.entries) == 1 else ({},)
    plain = all(weight.dtype == torch.float32 or not weight.dtype.is_floating_point for weight in tensors.values())
    same = all(name in best.taken and weight.shape == shapes[name] for name, weight in tensors.items())
    return weights.form == "safetensors" and plain and same and not is_transformers(tensors)


def _require_room(best: Fit, weights: Weights) -> None:
    """Raises UserError for tensors far larger than their file: many may share their numbers in it."""
    taken, there = sum(weight.bytes for weight in best.taken.values()), weights.path.stat().st_size
    if taken > 2 * there + SLACK:
        raise UserError(
            f"{weights.path.name} claims {taken:,} bytes of weights, and has {there:,}", hint="copy it again"
        )


def _finite(name: str, weight: Weight, request: Request) -> torch.Tensor:
    """A tensor of the file, numbers as float32. Raises UserError for one that is not finite."""
    tensor = weight.read()
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    if not all_finite(tensor):
        raise UserError(
            f"the weights of {request.name} are not finite numbers ({name})",
            hint="take a checkpoint of an earlier step",
        )
    return tensor


def _write(best: Fit, completed: list[str], request: Request, target: Path) -> None:
    tensors = {name: _finite(name, weight, request) for name, weight in best.taken.items()}
    if completed and request.base is not None:
        weights = weights_of(request.base.folder)
        if weights is None:
            raise UserError(f"{request.base.name} has no weights", hint=f"mmcoa fetch {request.base.name} --replace")
        with open_weights(weights, title=f"{weights.name} of {request.base.name}") as opened:
            (own,) = opened.entries.values()
            tensors |= {name: _finite(name, own[name], request) for name in completed}
    save_tensors(tensors, target)


def _taken(best: Fit, weights: Weights, request: Request, completed: list[str]) -> str:
    """Say what was taken from the file, what completed it and what was left out."""
    parts = [f"{len(best.taken)} weights of {weights.form}"]
    if best.entry:
        parts.append(f"its entry {best.entry!r}")
    if best.prefix:
        parts.append(f"without the prefix {best.prefix!r}")
    if completed and request.base:
        parts.append(f"{len(completed)} of {request.base.name}")
    for what, names in (("other entries", best.others), ("tensors", best.beside)):
        if names:
            parts.append(f"left out {len(names)} {what} ({', '.join(name[:40] for name in names[:3])})")
    return ", ".join(parts)
