"""CLIP models and masked LMs in the store: tell whether one is here, and get it when it is not.

A name is that of a catalog row, "ARCH:TAG" of open_clip, "hf-hub:ORG/NAME[@REVISION]", "ORG/NAME" for masked LMs, or
the name under which a local folder was registered. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from store.errors import UserError
from store.files import discard, lock
from store.keys import digest_file, key_of

from .. import catalog
from ..catalog import MlmRow, ModelRow
from ..names import meant, store_name
from ..other_kinds import MLM, MODEL, RUN, of_another_kind
from ..settings import Home
from ..terminal.console import say
from .origins import PUBLISHED, RECORD, Origin, read_record

HUB = "hf-hub:"


def ensure_clip(name: str, home: Home) -> Path:
    """The folder of the CLIP model `name`, fetched or trained first if need be. Raises UserError."""
    if not clip_path(name, home).exists():
        require_clip_name(name, home)
        say(f"the model {name} is not in the store yet; {_how(catalog.models().get(name))} it")
        fetch_clip(name, home)
    return clip_path(name, home)


def ensure_mlm(name: str, home: Home) -> Path:
    """The folder of the masked LM `name`, fetched or trained first if need be. Raises UserError."""
    if not mlm_path(name, home).exists():
        require_mlm_name(name, home)
        say(f"the masked LM {name} is not in the store yet; {_how(catalog.mlms().get(name))} it")
        try:
            fetch_mlm(name, home)
        except UserError as error:
            alike = "" if name in catalog.mlms() else meant(name, [*catalog.mlms(), *registered(home.mlms)])
            raise UserError(str(error), hint=alike or error.hint) from error
    return mlm_path(name, home)


def require_clip_name(name: str, home: Home) -> None:
    """Raises UserError for what is no CLIP of the store and can be fetched by no name."""
    if not is_clip(name, home):
        raise _absent(name, home)


def require_mlm_name(name: str, home: Home) -> None:
    """Raises UserError for what the store or the catalog has as something else. A name of the hub may have any form."""
    if other := of_another_kind(name, home, asked=(MLM,)):
        raise UserError(f"there is no masked LM called {name!r}", hint=other)


def _how(row: ModelRow | MlmRow | None) -> str:
    return "training" if row and row.embedded else "fetching"


def is_clip(name: str, home: Home) -> bool:
    """Tell whether `name` names a CLIP model that is in the store or can be fetched."""
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


def fetch_clip(
    name: str, home: Home, *, source: Path | None = None, base: str = "", arch: str = "", replace: bool = False
) -> bool:
    """Bring a CLIP into the store, from the folder or file `source` if given; False when it is there already.

    `base` names the CLIP that completes a file with one encoder, `arch` the architecture of a file that does not say
    it. Raises UserError, also where another model has the name, unless it is to be replaced.
    """
    row, target = catalog.models().get(name, ModelRow(name)), clip_path(name, home)
    if (base or arch) and source is None:
        raise UserError(f"{'--base' if base else '--arch'} is for a file of your own", hint="add --from PATH")
    asked = _asked(row, source, base=base, arch=arch)
    with _making(target, name, f"the model {name}", asked, replace=replace) as makes:
        if makes and row.embedded:
            from . import embedded

            discard(target)
            embedded.build_clip(row, home)
        elif makes and source:
            _take_clip(row, source, target, home, asked)
        elif makes:
            _download_clip(row, target, home)
    return makes


def fetch_mlm(name: str, home: Home, *, source: Path | None = None, replace: bool = False) -> bool:
    """Bring a masked LM into the store, from the folder `source` if given; False when it is there already.

    Raises UserError, also where another model has the name, unless it is to be replaced.
    """
    row, target = catalog.mlms().get(name, MlmRow(name)), mlm_path(name, home)
    asked = _asked(row, source)
    with _making(target, name, f"the masked LM {name}", asked, replace=replace) as makes:
        if makes and row.embedded:
            from . import embedded

            discard(target)
            embedded.build_mlm(row, home)
        elif makes and source:
            _take_mlm(row, source, target, asked)
        elif makes:
            _download_mlm(row, target)
    return makes


@contextmanager
def _making(target: Path, name: str, what: str, asked: Mapping[str, str], *, replace: bool) -> Iterator[bool]:
    """Whether the block is to make `target`. No other process does so meanwhile: a second one waits, and finds it.

    Raises UserError where another model is there that is not to be replaced.
    """

    def is_there() -> bool:
        if replace or not target.exists():
            return False
        _require_same(target, name, what, asked)
        return True

    if is_there():
        yield False
        return
    with lock(target, what=what, on_wait=lambda: say(f"waiting for another process that fetches {what}")):
        yield not is_there()


def _asked(row: ModelRow | MlmRow, source: Path | None, *, base: str = "", arch: str = "") -> dict[str, str]:
    """What the model's record keeps of the request; nothing where a name was all. Raises UserError for a source that is
    none, and for any of an embedded model."""
    if source is None:
        return {}
    if row.embedded:
        raise UserError(f"{row.name} is embedded and comes from nowhere else", hint=f"mmcoa fetch {row.name}")
    if not source.exists():
        raise UserError(f"there is no file or folder {source}", hint="--from takes a folder or a file of weights")
    files = {path.name: digest_file(path) for path in _files_at(source)}
    given = {"--base": base, "--arch": arch}
    return {"--from": key_of(sorted(files.items())), **{option: value for option, value in given.items() if value}}


def _files_at(source: Path) -> list[Path]:
    """The files of a model's folder, or the one file."""
    if not source.is_dir():
        return [source] if source.is_file() else []
    ours = (RECORD, "spec.json", "state.safetensors")
    return sorted(path for path in source.iterdir() if path.is_file() and path.name not in ours)


def _require_same(target: Path, name: str, what: str, asked: Mapping[str, str]) -> None:
    """Raises UserError where the model here was asked for in another way, or under another name."""
    record = read_record(target)
    if record.name and record.name != name:
        raise UserError(
            f"{name!r} and {record.name!r} have the same place in the store, and {record.name!r} is there",
            hint=f"choose another name, or put {name} in its place: --replace",
        )
    there = record.request
    if not asked or not there:  # the name alone, or a model of version 0.1 or a hub
        differs = "--from" if asked else ""
    else:
        differs = next(
            (option for option in ("--from", "--base", "--arch") if asked.get(option) != there.get(option)), ""
        )
    if differs:
        raise UserError(
            f"{what} is in the store, and not by this {differs}", hint="--replace replaces it; or choose another name"
        )


def _take_clip(row: ModelRow, source: Path, target: Path, home: Home, asked: Mapping[str, str]) -> None:
    """Take a CLIP from a folder or a file of weights, in any form that `intake` knows."""
    from .intake import Base, Request
    from .save import choose_weights, local_origin, save_clip

    weights = source / choose_weights([path.name for path in source.iterdir()]) if source.is_dir() else source
    name = asked.get("--base", "")
    if name == row.name:
        raise UserError(f"{name} cannot complete itself", hint="--base names another CLIP of the store")
    base = Base(name, ensure_clip(name, home)) if name else None
    request = Request(row, source, base, asked.get("--arch", ""))
    save_clip(request, weights, target, origin=local_origin(source, weights), asked=asked)


def _download_clip(row: ModelRow, target: Path, home: Home) -> None:
    """Download a CLIP from Hugging Face: a repository in open_clip's layout, or the one of a pretrained tag."""
    from ..datasets.sources.hubs import repository_folder
    from .intake import Request, config_beside
    from .published import published
    from .save import choose_clip_files, choose_weights, save_clip

    if row.name.startswith(HUB):
        repository, _, revision = row.name.removeprefix(HUB).partition("@")
        known = None
    elif row.architecture or ":" in row.name:  # a row, or ARCH:TAG
        known = published(row)
        repository, revision = known.repository, ""
    else:
        raise _absent(row.name, home)
    folder = repository_folder(repository, revision=revision, choose=choose_clip_files, name=row.name)
    if known is None and not any(config_beside(folder)):
        hint = "it takes a repository that open_clip can load, or a CLIP of transformers"
        raise UserError(f"{repository} holds no open_clip_config.json", hint=hint)
    weights = folder / choose_weights([path.name for path in folder.iterdir()])
    request = Request(row, folder, config=known.config if known else None)
    save_clip(request, weights, target, origin=Origin(PUBLISHED, f"{repository}@{folder.name}"), asked={})


def _take_mlm(row: MlmRow, source: Path, target: Path, asked: Mapping[str, str]) -> None:
    from .save import choose_mlm_files, local_origin, save_mlm

    if not source.is_dir():
        raise UserError(f"{source} is no folder", hint="a masked LM is a folder as save_pretrained writes it")
    files = [source / name for name in choose_mlm_files([path.name for path in source.iterdir()])]
    save_mlm(files, target, name=row.name, origin=local_origin(source, files[0]), asked=asked)


def _download_mlm(row: MlmRow, target: Path) -> None:
    from ..datasets.sources.hubs import repository_folder
    from .save import choose_mlm_files, save_mlm

    repository, _, revision = (row.repository or row.name).partition("@")
    revision = row.revision or revision
    folder = repository_folder(repository, revision=revision, choose=choose_mlm_files, name=row.name)
    files = [folder / name for name in choose_mlm_files([path.name for path in folder.iterdir()])]
    origin = Origin(PUBLISHED, f"{repository}@{folder.name}")
    save_mlm(files, target, name=row.name, origin=origin, asked={})


def _absent(name: str, home: Home) -> UserError:
    """The error for a CLIP that is neither in the store nor in the catalog: a name that may be meant, or what to do."""
    alike = meant(name, [*catalog.models(), *registered(home.clips)])
    own = f"a model of your own: mmcoa fetch {store_name(name)} --from FOLDER"
    hint = of_another_kind(name, home, asked=(MODEL, RUN)) or alike or own
    return UserError(f"there is no model called {name!r}", hint=hint)
