"""Images with captions in `metadata.csv` or `metadata.jsonl`, as the Hugging Face hub's image folders have them: a
column `file_name`, below the folder of the file, and one of captions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from store.errors import UserError

from ...catalog import DatasetRow
from ..files import NO_IMAGE, Files, images_among
from ..samples import Recognised, split_of_path
from .captions import COLUMNS, Entry, is_own, listed, recognised_in
from .parquet_files import LABEL_COLUMNS

NAMES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"
MAX_LIST = 512 << 20  # bytes
PEEK = 1 << 20  # bytes of the first line


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of a dataset of one's own that has such files; None where they name no column of captions."""
    if not is_own(row):
        return None
    columns = {path: _caption_column(files, path) for path in files.sizes if path.rpartition("/")[2] in NAMES}
    read = {path: column for path, column in columns.items() if column}
    if not read:
        return None
    images, others = images_among(files)
    entries = [entry for path, column in read.items() for entry in _entries(files, path, column)]
    found = listed(files, images, entries)
    if not found.samples:
        raise UserError(
            f"{files.title}: no image that {next(iter(read))} names is there",
            hint="its file_name is a path below its folder",
        )
    others = {**others, NO_IMAGE: tuple(path for path in others[NO_IMAGE] if path not in read)}
    return recognised_in(files, row, found, others)


def _caption_column(files: Files, path: str) -> str:
    """The column of captions; empty where there is none. Raises UserError for several, and for labels beside it."""
    with files.open(path) as file:
        first = file.readline(PEEK).decode("utf-8-sig", errors="replace")
    try:
        names = list(json.loads(first)) if path.endswith(".jsonl") else next(csv.reader([first]), [])
    except (ValueError, TypeError, RecursionError, csv.Error):
        return ""
    found = [name for name in COLUMNS if name in names] if FILE_NAME in names else []
    labels = [name for name in LABEL_COLUMNS if name in names]
    if found and (len(found) > 1 or labels):
        raise UserError(
            f"{files.title}: {path} has the columns {' and '.join([*found, *labels])}",
            hint="keep the one that is meant",
        )
    return found[0] if found else ""


def _entries(files: Files, path: str, column: str) -> Iterator[Entry]:
    folder = path.rpartition("/")[0]
    split = split_of_path(folder.split("/")) or "test"
    for number, line in _lines(files, path):
        name, value = line.get(FILE_NAME), line.get(column)
        if not isinstance(name, str) or not name or value is None:
            raise UserError(f"{files.title}: {path}, line {number} has no {FILE_NAME} or no {column}", hint="mend it")
        yield Entry(split, f"{folder}/{name}".lstrip("/"), value)


def _lines(files: Files, path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The lines of a file by their numbers. Raises UserError for what is no CSV, or no JSON."""
    title, number = f"{files.title}: {path}", 1
    try:
        text = files.read(path, at_most=MAX_LIST).decode("utf-8-sig")
        if path.endswith(".csv"):
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            for line in reader:
                number = reader.line_num
                yield number, line
            return
        for number, one in enumerate(text.split("\n"), 1):
            if one.strip():
                document = json.loads(one)
                if not isinstance(document, dict):
                    raise ValueError("it is no object")
                yield number, document
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{title} is damaged near line {number}: {error}", hint="write it again, in UTF-8") from error
