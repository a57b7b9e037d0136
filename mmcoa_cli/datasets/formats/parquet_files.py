"""Datasets as parquet files, each with an image and a label column. Every file's labels have the names of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import MAX_IMAGE, Encoded
from ..files import Files, images_among, joined
from ..samples import CAPTIONS, Recognised, is_own, of_captions
from .hub_layouts import (
    NO_SPLIT,
    OTHER_SPLIT,
    HubLayout,
    Label,
    Raw,
    our_splits,
    recognised_in,
    require_one_configuration,
    splits_of,
)
from .parquet_pages import MAX_EXTRA, MAX_RATIO, largest_page

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "cls", "target")
BESIDE = "beside the parquet files"
ROWS = 64  # read at a time, where their pages are small
AT_ONCE = 256 << 20  # bytes of the rows that are read at a time
BYTES_A_ROW, SLACK = 4, 4096  # a file of n bytes holds at most n / 4 + 4096 rows: the smallest image has 60 bytes
MAX_LABEL = 1000  # characters
_WITHIN = "bytes within"  # as the library `datasets` keeps images: {"bytes", "path"}


@dataclass(frozen=True)
class Shard:
    """One file: the split that we read it as, its columns and their types, and the names of its own labels."""

    path: str
    split: str
    image: str
    value: str
    kinds: tuple[str, str]
    names: tuple[str, ...]
    rows: int


def is_parquet(path: str) -> bool:
    """Whether the file's name says so."""
    return path.lower().endswith(".parquet")


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of parquet files, if there are any."""
    if not any(map(is_parquet, files.sizes)):
        return None
    row = of_captions(row) if is_own(row) and _has_captions(files) else row
    return recognised_in(_layout(files, row), row, total=files.total)


def _has_captions(files: Files) -> bool:
    """Whether the first file has a column of captions, and none of labels."""
    import pyarrow.parquet

    path = next(filter(is_parquet, files.sizes))
    with _arrow_errors(path), files.open(path) as file:
        names = pyarrow.parquet.ParquetFile(file).schema_arrow.names
    return any(name in names for name in CAPTIONS) and not any(name in names for name in LABEL_COLUMNS)


def _layout(files: Files, row: DatasetRow) -> HubLayout:
    """Raises UserError for files that are no part of one dataset: of several configurations, of other columns, types or
    classes; and for labels that are none."""
    paths = [path for path in files.sizes if is_parquet(path)]
    said = splits_of(paths, archive="" if files.root or is_parquet(files.title) else files.title)
    ours = our_splits(sorted({split for split in said.values() if split}), row)
    wanted = [path for path in paths if said[path] in ours]
    if not wanted:
        raise UserError(f"{files.title} has none of the splits {', '.join(row.hub_splits)}", hint="see --from")
    require_one_configuration(files, wanted)
    shards = [_shard(files, path, ours[said[path] or ""], row) for path in wanted]
    shards.sort(key=lambda shard: list(ours.values()).index(shard.split))
    names = _common_names(files, shards)
    images, others = images_among(files)
    others = {reason: tuple(path for path in found if not is_parquet(path)) for reason, found in others.items()}
    left_out = {
        NO_SPLIT: tuple(path for path in paths if said[path] is None),
        OTHER_SPLIT: tuple(path for path in paths if said[path] and said[path] not in ours),
        BESIDE: tuple(images),
    }
    counts: dict[str, int] = {}
    for shard in shards:
        counts[shard.split] = counts.get(shard.split, 0) + shard.rows
    return HubLayout(
        files.title,
        names,
        lambda: (raw for shard in shards for raw in _raw(files, shard, names)),
        lambda: (label for shard in shards for label in _labels(files, shard, names)),
        counts,
        left_out=joined(left_out, others, files.left_out),
    )


def _shard(files: Files, path: str, split: str, row: DatasetRow) -> Shard:
    import pyarrow.parquet

    with _arrow_errors(path), files.open(path) as file:
        opened = pyarrow.parquet.ParquetFile(file)
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    title = f"{files.title}: {path}"
    own = not row.splits
    image = _column(schema, IMAGE_COLUMNS, "image", title, alone=own)
    value = _column(schema, CAPTIONS if row.captions else LABEL_COLUMNS, "label", title, alone=own)
    kinds = (_require_bytes(schema, image, title), _require_labels(schema, value, title, captions=bool(row.captions)))
    if not 0 <= rows <= files.sizes[path] // BYTES_A_ROW + SLACK:
        raise UserError(f"{title} claims {rows:,} rows in {files.sizes[path]:,} bytes", hint="do not trust this file")
    return Shard(path, split, image, value, kinds, _class_label(schema, value), rows)


def _column(schema: Any, wanted: Sequence[str], what: str, title: str, *, alone: bool) -> str:
    """The column of images or of labels. Raises UserError where there is none, or (if it is to be `alone`) another."""
    several = [name for name in wanted if name in schema.names]
    found = several[0] if several else None
    if alone and len(several) > 1:
        raise UserError(f"{title} has the {what} columns {' and '.join(several)}", hint="keep the one that is meant")
    if found is None:
        raise UserError(f"{title} has no {what} column among {', '.join(schema.names)}", hint=f"call it {wanted[0]!r}")
    if schema.names.count(found) > 1:
        raise UserError(f"{title} has two columns called {found}", hint="keep one of them")
    return found


def _require_bytes(schema: Any, column: str, title: str) -> str:
    """The column's type. Raises UserError where it holds no image files."""
    from pyarrow import types

    kind = schema.field(column).type
    inside = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (types.is_binary(inside) or types.is_large_binary(inside) or types.is_binary_view(inside)):
        raise UserError(f"{title}: the column {column} is of the type {kind}", hint="it takes image files as bytes")
    return "bytes" if inside is kind else _WITHIN


def _require_labels(schema: Any, column: str, title: str, *, captions: bool) -> str:
    """The kind of a column's labels. Raises UserError for one whose values are no labels."""
    from pyarrow import types

    kind = schema.field(column).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if captions:
        return "captions"
    if types.is_integer(kind):
        return "numbers"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "names"
    raise UserError(
        f"{title}: the column {column} is of the type {schema.field(column).type}, which is no label",
        hint="each image takes one label: a class's number, from 0 (int64), or its name (string)",
    )


def _common_names(files: Files, shards: Sequence[Shard]) -> tuple[str, ...]:
    """The names of the classes in the order of the first file. Raises UserError where files differ in what their labels
    mean."""
    first = shards[0]
    for shard in shards[1:]:
        for what, here, there in (
            ("columns", (first.image, first.value), (shard.image, shard.value)),
            ("types", first.kinds, shard.kinds),
        ):
            if here != there:
                raise UserError(
                    f"{files.title}: the {what} of {first.path} are {', '.join(here)}, of {shard.path} "
                    f"{', '.join(there)}",
                    hint="give --from a folder of files that go together",
                )
        for one, other in ((first, shard), (shard, first)):
            if only := [name for name in one.names if name not in other.names]:
                raise UserError(
                    f"{files.title}: {one.path} has the class {only[0]!r}, and {other.path} does not",
                    hint="give --from a folder of files that go together",
                )
    return first.names


def _class_label(schema: Any, column: str) -> tuple[str, ...]:
    """The names that a Hugging Face `ClassLabel` gives the numbers of a column; empty without one."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _raw(files: Files, shard: Shard, names: Sequence[str]) -> Iterator[Raw]:
    allowed = MAX_RATIO * files.sizes[shard.path] + MAX_EXTRA
    image = f"{shard.image}.bytes" if shard.kinds[0] == _WITHIN else shard.image
    for number, (data, value) in enumerate(_rows(files, shard, [image, shard.value])):
        place = f"{shard.path}, row {number}"
        data = data.get("bytes") if isinstance(data, dict) else data
        if not isinstance(data, bytes) or len(data) > MAX_IMAGE:
            raise UserError(f"{place} is without an image in it", hint="it takes images as bytes")
        allowed -= len(data)
        if allowed < 0:
            raise UserError(f"{files.title}: {place}: the file unpacks to far more than it is", hint="do not trust it")
        yield Raw(shard.split, Encoded(place, partial(bytes, data)), _common(value, shard, names, place))


def _labels(files: Files, shard: Shard, names: Sequence[str]) -> Iterator[Label]:
    for number, (value,) in enumerate(_rows(files, shard, [shard.value])):
        place = f"{shard.path}, row {number}"
        yield Label(_common(value, shard, names, place), place)


def _common(value: Any, shard: Shard, names: Sequence[str], place: str) -> Any:
    """A label as the first file numbers it. Raises UserError for one that is far too long."""
    if isinstance(value, str) and len(value) > MAX_LABEL:
        raise UserError(f"{place}: its label has {len(value):,} characters", hint="it takes the name of a class")
    if type(value) is int and tuple(names) != shard.names and 0 <= value < len(names):
        return names.index(shard.names[value])
    return value


def _rows(files: Files, shard: Shard, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The values of `columns`, so many rows at a time that memory is bounded by what the file's pages hold."""
    import pyarrow.parquet

    with _arrow_errors(shard.path), files.open(shard.path) as file:
        opened = pyarrow.parquet.ParquetFile(file)
        for group in range(opened.metadata.num_row_groups):
            page = max(_page(file, opened, group, column, title=shard.path) for column in columns)
            rows = max(1, min(ROWS, AT_ONCE // max(1, page)))
            for batch in opened.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _page(file: IO[bytes], opened: Any, group: int, column: str, *, title: str) -> int:
    """The bytes of the largest page of a column, once each is known to unpack to no more than an archive may."""
    metadata = opened.metadata.row_group(group)
    chunks = [metadata.column(n) for n in range(metadata.num_columns)]
    own = [chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(f"{column}.")]
    return max(largest_page(file, chunk, title=title) for chunk in own)


@contextmanager
def _arrow_errors(title: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's trouble; damage has no number
            raise
        reason = (str(error).splitlines() or ["it cannot be read"])[0]
        raise UserError(f"{title} is damaged: {reason}", hint="download it again") from error
