"""CLIP models and masked LMs in the store: whether one is here, and getting it when it is not.

A name is that of a catalog row, "ARCH:TAG" of open_clip, "hf-hub:ORG/NAME[@REVISION]", "ORG/NAME" for masked LMs, or
the name under which a local folder was registered. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.files import lock

from . import catalog
from .catalog import MlmRow, ModelRow
from .console import say
from .names import store_name
from .settings import Home

HUB = "hf-hub:"


def ensure_clip(name: str, home: Home) -> Path:
    """The folder of the CLIP model `name`, fetched or trained first if need be. Raises UserError."""
    if not clip_path(name, home).exists():
        say(f"the model {name} is not in the store yet; fetching it")
        fetch_clip(name, home)
    return clip_path(name, home)


def ensure_mlm(name: str, home: Home) -> Path:
    """The folder of the masked LM `name`, fetched or trained first if need be. Raises UserError."""
    if not mlm_path(name, home).exists():
        say(f"the masked LM {name} is not in the store yet; fetching it")
        fetch_mlm(name, home)
    return mlm_path(name, home)


def is_clip(name: str, home: Home) -> bool:
    """Whether `name` is that of a CLIP model which is in the store or could be fetched."""
    return name in catalog.models() or ":" in name or clip_path(name, home).exists()


def clip_path(name: str, home: Home) -> Path:
    """The folder that holds, or would hold, the CLIP model."""
    return home.clips / store_name(name)


def mlm_path(name: str, home: Home) -> Path:
    """The folder that holds, or would hold, the masked LM."""
    return home.mlms / store_name(name)


def registered(folder: Path) -> list[str]:
    """The folder names of the models in `home.clips` or `home.mlms`."""
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def fetch_clip(name: str, home: Home, *, source: Path | None = None) -> bool:
    """Bring a CLIP into the store, from the folder or file `source` if given; False when it is there already."""
    row = catalog.models().get(name, ModelRow(name))
    if row.embedded:
        return _train_embedded(row, clip_path(name, home), source, lambda embedded: embedded.build_clip(row, home))
    get = (lambda target: _take_clip(row, source, target)) if source else (lambda target: _download_clip(row, target))
    return _once(clip_path(name, home), f"the model {name}", get)


def fetch_mlm(name: str, home: Home, *, source: Path | None = None) -> bool:
    """Bring a masked LM into the store, from the folder `source` if given; False when it is there already."""
    row = catalog.mlms().get(name, MlmRow(name))
    if row.embedded:
        return _train_embedded(row, mlm_path(name, home), source, lambda embedded: embedded.build_mlm(row, home))
    get = (lambda target: _take_mlm(row, source, target)) if source else (lambda target: _download_mlm(row, target))
    return _once(mlm_path(name, home), f"the masked LM {name}", get)


def _once(target: Path, what: str, get: Callable[[Path], None]) -> bool:
    """Run `get` unless its result is there; a second process waits, and then finds it."""
    if target.exists():
        return False
    wait = f"waiting for another process that fetches {what}"
    with lock(target, what=what, on_wait=lambda: say(wait)):
        if target.exists():
            return False
        get(target)
    return True


def _train_embedded(row: ModelRow | MlmRow, target: Path, source: Path | None, build: Callable[[Any], Any]) -> bool:
    if source is not None:
        raise UserError(f"{row.name} is embedded and comes from nowhere else", hint=f"mmcoa fetch {row.name}")
    if target.exists():
        return False
    from . import embedded

    build(embedded)
    return True


def _take_clip(row: ModelRow, source: Path, target: Path) -> None:
    """From a folder, or from a file of weights whose architecture a configuration beside it or the name gives."""
    from .model_folders import CLIP_CONFIG, choose_clip_files, local_origin, save_clip

    if source.is_dir():
        chosen = choose_clip_files([path.name for path in source.iterdir()])
        files = [source / name for name in chosen]
    else:
        beside = source.parent / CLIP_CONFIG
        files = [_existing(source), *([beside] if beside.is_file() else [])]
    config = _config_among(files) or _known_config(row)
    weights = [path for path in files if path.name != CLIP_CONFIG]
    save_clip(weights, target, name=row.name, config=config, origin=local_origin(weights[0]))


def _download_clip(row: ModelRow, target: Path) -> None:
    """From Hugging Face: a repository in open_clip's layout, or the one open_clip names for a pretrained tag."""
    from .hubs import repository_folder
    from .model_folders import CLIP_CONFIG, Origin, choose_clip_files, save_clip
    from .published_clips import published

    if row.name.startswith(HUB):
        repository, _, revision = row.name.removeprefix(HUB).partition("@")
        known = None
    elif row.architecture or ":" in row.name:  # a row, or ARCH:TAG
        known = published(row)
        repository, revision = known.repository, ""
    else:
        raise _absent(row.name, [*catalog.models()], "model", f"mmcoa fetch {store_name(row.name)} --from FOLDER")
    folder = repository_folder(repository, revision=revision, choose=choose_clip_files, name=row.name)
    files = [folder / name for name in choose_clip_files([path.name for path in folder.iterdir()])]
    config = known.config if known else _config_among(files)
    if config is None:
        raise UserError(f"{repository} holds no {CLIP_CONFIG}", hint="it takes a repository that open_clip can load")
    origin = Origin(f"{repository}@{folder.name}", stand_in=False)
    weights = [path for path in files if path.name != CLIP_CONFIG]
    save_clip(weights, target, name=row.name, config=config, origin=origin)


def _take_mlm(row: MlmRow, source: Path, target: Path) -> None:
    from .model_folders import choose_mlm_files, local_origin, save_mlm

    folder = _existing(source)
    if not folder.is_dir():
        raise UserError(f"{source} is no folder", hint="a masked LM is a folder as save_pretrained writes it")
    files = [folder / name for name in choose_mlm_files([path.name for path in folder.iterdir()])]
    save_mlm(files, target, name=row.name, origin=local_origin(files[0]))


def _download_mlm(row: MlmRow, target: Path) -> None:
    from .hubs import repository_folder
    from .model_folders import Origin, choose_mlm_files, save_mlm

    repository, _, revision = (row.repository or row.name).partition("@")
    revision = row.revision or revision
    folder = repository_folder(repository, revision=revision, choose=choose_mlm_files, name=row.name)
    files = [folder / name for name in choose_mlm_files([path.name for path in folder.iterdir()])]
    save_mlm(files, target, name=row.name, origin=Origin(f"{repository}@{folder.name}", stand_in=False))


def _config_among(files: list[Path]) -> dict[str, Any] | None:
    from .model_folders import CLIP_CONFIG, read_config

    return next((read_config(path) for path in files if path.name == CLIP_CONFIG), None)


def _known_config(row: ModelRow) -> dict[str, Any]:
    """The configuration for weights that come without one: of the published model of that name, if there is one."""
    from .published_clips import architecture_config, published

    try:
        return published(row).config
    except UserError:
        return architecture_config(row)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"there is no file or folder {path}", hint="--from takes a folder or a file of weights")
    return path


def _absent(name: str, known: list[str], kind: str, hint: str) -> UserError:
    close = get_close_matches(name, known, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return UserError(f"there is no {kind} called {name!r}", hint=f"{meant}a {kind} of your own: {hint}")
