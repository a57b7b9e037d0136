"""Which layout a folder or archive has: the dataset's own, one of the Hugging Face hub, or folders of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from store.errors import UserError

from ...catalog import DatasetRow
from ..sources.archives import open_files
from ..sources.files import Files
from ..sources.nested_archives import expanded
from .hub_layouts import HubLayout, describe_hub, read_hub
from .image_folders import describe, read_images, scan
from .parquet_files import is_parquet, parquet_layout
from .readers import READERS
from .samples import Labels, Sample
from .torchvision_readers import base_folder, list_torchvision, read_torchvision, torchvision_root
from .webdatasets import is_webdataset, webdataset_layout


@dataclass(frozen=True)
class Recognised:
    """`row` with the classes and image sizes of the data; `bytes` of it on the disk; `count` images, None where that is
    only known at the end; `left_out` says which files are no part of it, by the reason (complete once all samples are
    read)."""

    row: DatasetRow
    samples: Iterator[Sample]
    bytes: int
    count: int | None
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _class_folders(files: Files, row: DatasetRow, size: int) -> Recognised:
    """Raises UserError, naming the archives where the dataset has several, if there are no folders of its classes."""
    try:
        layout = scan(files, labels=Labels(row) if row.splits else None)
        full = row if row.splits else describe(files, layout, row=row)
        return Recognised(full, read_images(files, layout, full), size, len(layout.images), layout.left_out)
    except UserError as error:
        archives = [PurePosixPath(archive.url).name for source in row.sources for archive in source.archives]
        if len(archives) < 2:
            raise
        hint = f"put {', '.join(archives)} into one folder, and give --from that"
        raise UserError(str(error), hint=f"{error.hint}; or {hint}") from error


def _hub_layout(files: Files, row: DatasetRow) -> HubLayout | None:
    """The layout of parquet files or of webdataset shards, None where it is neither."""
    if any(map(is_parquet, files.sizes)):
        return parquet_layout(files, row)
    return webdataset_layout(files, row) if is_webdataset(files, row) else None


@contextmanager
def recognised(row: DatasetRow, source: Path, *, scratch: Path) -> Iterator[Recognised]:
    """The samples of the folder or archive `source`; a row without classes is completed with those it has.

    Raises UserError when `source` has no layout that is known, or other classes than the row.
    """
    reader = READERS.get(row.reader)
    with open_files(source, scratch=scratch) as outer:
        if reader is not None and reader.recognises(outer):
            yield Recognised(row, reader.read(outer, row), sum(outer.sizes.values()), None, outer.left_out)
            return
        with expanded(outer) as files:
            size = sum(files.sizes.values())
            if reader is not None and reader.recognises(files):
                yield Recognised(row, reader.read(files, row), size, None, files.left_out)
            elif (base := base_folder(files, row.torchvision)) is not None:
                with torchvision_root(files, row, base=base, scratch=scratch) as root:
                    listed = list_torchvision(root, files, row)
                    yield Recognised(
                        row, read_torchvision(listed, title=files.title), size, len(listed), files.left_out
                    )
            elif (hub := _hub_layout(files, row)) is not None:
                full = row if (row.class_names and row.splits) or row.captions else describe_hub(hub, row)
                yield Recognised(full, read_hub(hub, full), size, sum(hub.counts.values()), hub.left_out)
            elif row.captions:
                raise UserError(
                    f"{files.title} holds no images with captions",
                    hint="it takes webdataset shards, or val2014/ beside dataset_coco.json",
                )
            else:
                yield _class_folders(files, row, size)
