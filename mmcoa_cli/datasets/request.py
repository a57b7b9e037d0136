"""What was asked for when a dataset was fetched, kept in its file; and whether something else is asked for now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from store.dataset_info import DatasetInfo
from store.errors import UserError
from store.printable import visible

from ..catalog import TEMPLATE, DatasetRow
from ..names import require_printable
from .sampling import Fraction
from .sources.folder_walk import Look, files_below

MAX_LISTED = 200_000  # files of a folder that are looked at, to see whether it has changed
MAX_NAMES = 16 << 20  # bytes of a file of class names
_LITTER = ("thumbs.db", "desktop.ini")
_ONE_A_LINE = 'one name a line, or ["first", "second"]'


@dataclass(frozen=True)
class FetchRequest:
    """What a person says of a dataset: where it comes from, and of one of their own what its classes and its prompt
    are called (None where they do not say). `replace`: in place of what is here; `skip_broken`: without the images
    that cannot be used."""

    source: Path | None = None
    class_names: tuple[str, ...] | None = None
    template: str | None = None
    skip_broken: bool = False
    replace: bool = False
    fraction: Fraction | None = None  # how images without splits are divided

    def row(self, name: str) -> DatasetRow:
        """The row of a dataset of one's own."""
        return DatasetRow(name, self.class_names or (), template=self.template or TEMPLATE, oriented=True)

    def record(self) -> dict[str, str]:
        """What the dataset's file keeps of it."""
        return {
            "from": visible(str(self.source.resolve())) if self.source else "",
            "content": content_digest(self.source) if self.source else "",
            "class_names": "" if self.class_names is None else "given",
            **({"train_fraction": str(self.fraction)} if self.fraction else {}),
        }


def require_same(info: DatasetInfo, asked: FetchRequest, *, name: str, row: DatasetRow | None) -> None:
    """See that what is here is what is asked for; `row` is the catalog's, if it has one.

    Raises UserError that names the difference.
    """
    if info.name != name:
        raise UserError(
            f"{name!r} and {info.name!r} have the same place in the store, and {info.name!r} is there",
            hint=f"choose another name, or put {name} in its place: --replace",
        )
    found = list(_differences_of_catalog(info, row, asked) if row else _differences(info, asked))
    if found:
        raise UserError(
            f"{name} is here already, and it is not what is asked for: {'; '.join(found)}",
            hint="add --replace to fetch it anew in place of what is here, or choose another name",
        )


def _differences(info: DatasetInfo, asked: FetchRequest) -> Iterator[str]:
    """Of a dataset of one's own. Where no source is given, what is not said may be as it is."""
    names, template = asked.class_names, asked.template
    if asked.source is not None:
        yield from _other_source(info, asked.source)
        template = template or TEMPLATE
        if names is None and info.request.get("class_names"):
            yield "its class names were given by --class-names"
    if asked.source is not None or asked.fraction is not None:
        before, now = info.request.get("train_fraction", ""), str(asked.fraction or "")
        if before != now:
            how = f"for training it has {before}" if before else "its splits are those of its source"
            yield f"{how}, not {f'--train-fraction {now}' if now else 'those of its source'}"
    if names is not None and names != info.class_names:
        yield f"its classes are called {_first_that_differ(info.class_names, names)}"
    if template is not None and template != info.template:
        yield f"its template is {info.template!r}, not {template!r}"


def _differences_of_catalog(info: DatasetInfo, row: DatasetRow, asked: FetchRequest) -> Iterator[str]:
    if asked.source is not None:
        yield from _other_source(info, asked.source)
    if row.class_names and row.class_names != info.class_names:  # of another version of the catalog
        yield f"its classes are called {_first_that_differ(info.class_names, row.class_names)}"
    if row.template != info.template:
        yield f"its template is {info.template!r}, not {row.template!r}"


def _other_source(info: DatasetInfo, source: Path) -> Iterator[str]:
    if not info.request:  # written before files kept it
        if info.source != visible(source.name):
            yield f"it was taken from {info.source}, not from {source.name}"
        return
    before, now = info.request.get("from", ""), visible(str(source.resolve()))
    if before != now:
        if not source.exists():
            raise UserError(f"there is no file or folder {source}", hint="--from takes what is on this machine")
        yield f"it was taken from {before or info.source}, not from {now}"
    elif source.exists() and info.request.get("content") != content_digest(source):
        yield f"{before} has changed since it was taken from there"


def _first_that_differ(here: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    if len(here) != len(wanted):
        return f"{', '.join(here[:3])} ... ({len(here):,} of them), not {', '.join(wanted[:3])} ... ({len(wanted):,})"
    pairs = [(ours, theirs) for ours, theirs in zip(here, wanted, strict=True) if ours != theirs][:3]
    return f"{', '.join(ours for ours, _ in pairs)}, not {', '.join(theirs for _, theirs in pairs)}"


def content_digest(source: Path) -> str:
    """A hash of the names, sizes and times of the files at `source` (the first 200,000 of a folder), which changes when
    its content does."""
    digest = hashlib.sha256()
    for path, (size, changed) in islice(_listed(source), MAX_LISTED):
        digest.update(f"{path}\0{size}\0{changed}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _listed(source: Path) -> Iterator[tuple[str, Look]]:
    """The files at `source` that reading it would see, in an order that is always the same."""
    if source.is_dir():
        yield from (one for one in files_below(source) if one[0].rpartition("/")[2].lower() not in _LITTER)
    else:
        status = source.stat()
        yield "", (status.st_size, status.st_mtime_ns)


def class_names_in(path: Path) -> tuple[str, ...]:
    """The names in a file of one a line, or of a JSON list. Raises UserError for a file that is none."""
    if not path.is_file() or path.stat().st_size > MAX_NAMES:  # a pipe or a device could go on for ever
        raise UserError(f"cannot read the class names in {path}: it is no file, or a huge one", hint=_ONE_A_LINE)
    try:
        text = path.read_text(encoding="utf-8-sig")  # an editor on Windows begins a file with a mark
        names = json.loads(text) if path.suffix.lower() == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the class names in {path}: {error}", hint="one name a line") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} is no list of names", hint=_ONE_A_LINE)
    found = tuple(require_printable(name.strip(), f"in {path} the name") for name in names if name.strip())
    if not found:
        raise UserError(f"there are no names in {path}", hint=_ONE_A_LINE)
    return found


def require_template(template: str) -> str:
    """`template` itself. Raises UserError for one without exactly one place for the class."""
    require_printable(template, "--template")
    if template.count("{}") != 1:
        raise UserError(f"--template {template!r} has no place for the class", hint='--template "a photo of a {}"')
    return template
