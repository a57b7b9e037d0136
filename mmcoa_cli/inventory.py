"""Everything that can be fetched: tell what kind a name is and what is here, and get it.

Nothing heavy is imported before something is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import UserError
from store.verification import remembered

from . import catalog
from .catalog import DatasetRow, Kind, MlmRow, ModelRow
from .models.digests import read_json
from .models.library import HUB, clip_path, fetch_clip, fetch_mlm, mlm_path, registered
from .models.origins import PUBLISHED, STAND_IN, Record, read_record
from .names import store_name
from .other_kinds import is_architecture
from .settings import Home
from .space import tell_needs
from .stored.items import size_of
from .terminal.console import print_error

if TYPE_CHECKING:
    from .datasets.summary import Summary

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar")


@dataclass(frozen=True)
class Fetched:
    """One thing that is in the store now. `new` is False when it was there before; `about` says what it was understood
    to be, None where nothing was recorded."""

    name: str
    kind: Kind
    path: Path
    bytes: int
    new: bool
    about: Summary | Record | None = None


def fetch(
    name: str,
    home: Home,
    *,
    source: Path | None = None,
    kind: Kind | None = None,
    class_names: Path | None = None,
    template: str | None = None,
    skip_broken: bool = False,
    train_fraction: float | None = None,
    seed: int = 0,
    replace: bool = False,
    base: str = "",
    arch: str = "",
) -> Fetched:
    """Bring a dataset, a CLIP or a masked LM into the store; do nothing when it is there.

    `class_names` (a file) and `template` are for a dataset of one's own; `skip_broken` leaves out images that cannot be
    used; of a dataset without splits `train_fraction` of each class, drawn by `seed`, is for training; `base` and
    `arch` are for a CLIP from `source`; `replace` fetches it anew in place of what is here. Raises UserError, also
    where something else is here under that name.
    """
    if source is not None and source.exists() and not (source.is_file() or source.is_dir()):
        raise UserError(f"{source} is neither a file nor a folder", hint="save what comes from it to a file first")
    source = source and _of_the_hub(source)
    kind = kind or kind_of(name, home, source)
    if kind is not Kind.dataset and (class_names or template):
        raise UserError(f"{name} is no dataset and has no classes", hint="--kind dataset, if it is one")
    if kind is not Kind.dataset and skip_broken:
        raise UserError(f"--skip-broken is for images, and {name} is a model", hint="leave it out")
    if kind is not Kind.dataset and train_fraction is not None:
        raise UserError(f"--train-fraction is for images, and {name} is a model", hint="leave it out")
    if kind is not Kind.clip and (base or arch):
        raise UserError(f"--base and --arch are for a CLIP, and {name} is none", hint="--kind clip, if it is one")
    if kind is Kind.dataset:
        from .datasets.sampling import Fraction

        fraction = None if train_fraction is None else Fraction(train_fraction, seed)
        given = {"skip_broken": skip_broken, "replace": replace, "fraction": fraction}
        return _fetch_dataset(name, home, source, class_names, template, **given)
    if kind is Kind.clip:
        new = fetch_clip(name, home, source=source, base=base, arch=arch, replace=replace)
        path = clip_path(name, home)
    else:
        new, path = fetch_mlm(name, home, source=source, replace=replace), mlm_path(name, home)
    return Fetched(name, kind, path, size_of(path), new, read_record(path))


def _fetch_dataset(
    name: str,
    home: Home,
    source: Path | None,
    class_names: Path | None,
    template: str | None,
    **given: Any,
) -> Fetched:
    from store.datasets import Dataset

    from .datasets.fetching import fetch_dataset
    from .datasets.library import dataset_path
    from .datasets.request import FetchRequest, class_names_in, require_template
    from .datasets.summary import summary_of

    names = class_names_in(class_names) if class_names else None
    said = require_template(template) if template is not None else None
    new = fetch_dataset(name, home, FetchRequest(source, names, said, **given))
    path = dataset_path(name, home)
    with Dataset.open(path) as dataset:
        return Fetched(name, Kind.dataset, path, size_of(path), new, summary_of(dataset))


def fetch_each(
    names: Sequence[str], home: Home, on_fetched: Callable[[Fetched], None], **options: Any
) -> tuple[list[Fetched], dict[str, UserError]]:
    """`fetch` each of `names`, also after one fails. Returns what is there now, and why the others are not."""
    fetched: list[Fetched] = []
    failed: dict[str, UserError] = {}
    for name in names:
        try:
            fetched.append(fetch(name, home, **options))
            on_fetched(fetched[-1])
        except UserError as error:
            failed[name] = error
            if len(names) > 1:
                print_error(error)
    return fetched, failed


def tell_needs_of(names: Sequence[str], home: Home, *, source: Path | None, replace: bool) -> None:
    """Say what fetching these takes of the disk, where that is known: what stays, and a download until it is read."""
    rows: Mapping[str, Any] = {**catalog.datasets(), **catalog.models(), **catalog.mlms()}
    fetched = [name for name in names if not (name in rows and rows[name].embedded)]  # which are small, and made here
    wanted = [name for name in fetched if replace or not _is_here(name, home)]
    sizes = {name: rows[name].bytes if name in rows else 0 for name in wanted}
    if source and source.exists():
        sizes = {name: count or size_of(source) for name, count in sizes.items()}
    downloads = [count for name, count in sizes.items() if name in catalog.datasets()]
    on_the_way = 0 if source else max(downloads, default=0)
    tell_needs({"what stays": sum(sizes.values()), "a download until it is read": on_the_way}, home)


def _is_here(name: str, home: Home) -> bool:
    from .datasets.library import dataset_path

    return any(path(name, home).exists() for path in (dataset_path, clip_path, mlm_path))


def summary(failed: Mapping[str, UserError], *, of: int) -> UserError:
    """Make one error of those that `fetch_each` could not fetch."""
    if of == 1:
        return next(iter(failed.values()))
    return UserError(
        f"{len(failed)} of {of} could not be fetched: {', '.join(failed)}",
        hint=f"do what is said above, then: mmcoa fetch {' '.join(failed)}",
    )


def kind_of(name: str, home: Home, source: Path | None) -> Kind:
    """Tell what kind `name` is: by the catalog, by its form, by what is here, or by what `source` looks like."""
    for kind, rows in ((Kind.dataset, catalog.datasets()), (Kind.clip, catalog.models()), (Kind.mlm, catalog.mlms())):
        if name in rows:
            return kind
    if name.startswith(HUB) or ":" in name:
        return Kind.clip
    if source is not None:
        return _kind_of_path(source)
    if clip_path(name, home).exists() or is_architecture(name):
        return Kind.clip
    return Kind.mlm if "/" in name or mlm_path(name, home).exists() else Kind.dataset


def listing(home: Home) -> dict[str, list[dict[str, Any]]]:
    """List what can be fetched and what is here, also under names that the catalog does not have. `bytes` is the size
    on disk of what is here, else that of the download, where known."""
    return {
        "datasets": _datasets(home),
        "models": _models(home.clips, catalog.models()),
        "mlms": _models(home.mlms, catalog.mlms()),
    }


def _of_the_hub(source: Path) -> Path:
    """The files of a model in the hub's own cache, where it is named as a whole (models--ORG--NAME); any other path as
    it is. Raises UserError where none of its states is the one that is meant."""
    if not source.name.startswith("models--") or not (source / "snapshots").is_dir():
        return source
    states = {path.name: path for path in sorted((source / "snapshots").iterdir())}
    newest = source / "refs" / "main"
    meant = newest.read_text(encoding="utf8").strip() if newest.is_file() else next(iter(states), "")
    if meant not in states or (len(states) > 1 and not newest.is_file()):
        raise UserError(
            f"{source.name} holds {len(states)} states of the model", hint=f"--from {source / 'snapshots'}/COMMIT"
        )
    return states[meant]


def _kind_of_path(source: Path) -> Kind:
    if (source / "open_clip_config.json").exists() or source.name.lower().endswith(WEIGHTS):
        return Kind.clip
    if not (source / "config.json").is_file():
        return Kind.dataset
    config = read_json(source / "config.json")
    of_clip = isinstance(config, dict) and str(config.get("model_type", "")).startswith("clip")
    return Kind.clip if of_clip else Kind.mlm


def _datasets(home: Home) -> list[dict[str, Any]]:
    from .datasets.library import ORDER, dataset_path, registered_datasets

    rows = {store_name(row.name): row for row in catalog.datasets().values()}
    found = []
    for name in [*rows, *(name for name in registered_datasets(home) if name not in rows)]:
        path = dataset_path(name, home)
        info = _info(path)
        row = rows.get(name) or DatasetRow(name)
        said = info or {"name": row.name, "classes": len(row.class_names), "splits": row.splits, "part": ""}
        size = size_of(path) if info else row.bytes if name in rows else None
        splits = {split: said["splits"][split] for split in ORDER if split in said["splits"]}
        part = said.pop("part")
        found.append({**said, "splits": splits, "bytes": size, "here": info is not None, "part": part})
    return found


def _info(path: Path) -> dict[str, Any] | None:
    """What a listing says of a dataset's file, remembered until that changes; None where it is missing or damaged."""

    def read() -> str:
        from store.datasets import Dataset

        info = Dataset.info_of(path)
        part = "; ".join(info.parts.values())
        return json.dumps({"name": info.name, "classes": len(info.class_names), "splits": info.splits, "part": part})

    if not path.exists():
        return None
    try:
        said: dict[str, Any] = json.loads(remembered(path, "listing", read))
        return said
    except UserError:
        return None


def _models(folder: Path, rows: Mapping[str, ModelRow] | Mapping[str, MlmRow]) -> list[dict[str, Any]]:
    names = {store_name(name): name for name in rows}
    found = []
    for file_name in dict.fromkeys([*names, *registered(folder)]):
        here, record = (folder / file_name).exists(), _record(folder / file_name)
        name = names.get(file_name) or record.name or file_name
        origin = record.origin.kind if here else STAND_IN if rows[name].stand_in else PUBLISHED
        size = size_of(folder / file_name) if here else (rows[name].bytes if name in rows else 0) or None
        source = record.origin.source or None
        found.append({"name": name, "bytes": size, "here": here, "origin": origin, "source": source})
    return found


def _record(folder: Path) -> Record:
    """Read what a model's folder says of itself; nothing where it is damaged: loading it says so."""
    try:
        return read_record(folder)
    except UserError:
        return Record()
