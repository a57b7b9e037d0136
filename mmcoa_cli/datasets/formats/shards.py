"""The files of a dataset that hold many samples each (parquet, webdataset shards): which split each of them is, and
whether they are one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from itertools import islice
from typing import Any

from store.errors import UserError

from ..files import Files
from ..splits import split_in_name, split_of_path, without_splits

NO_SPLIT = "names no split, as others do"
OTHER_SPLIT = "of a split that is not read"
MAX_README = 1 << 20  # bytes
MAX_PATTERNS = 1000  # of one configuration


def splits_of(shards: Sequence[str], *, archive: str = "") -> dict[str, str | None]:
    """The split that each shard's own name says, else the innermost of its folders that says one, else the name of the
    archive that they are in; all are the test set where none says any. Raises UserError for a name that says two, and
    for an archive whose folders say others than its name."""
    found = {path: split_of_path(path.split("/")[:-1], path.rpartition("/")[2]) for path in shards}
    said = {split for split in found.values() if split}
    own = split_in_name(archive)
    if said and own and own not in said:
        raise UserError(
            f"{archive} holds {', '.join(sorted(said))}: which of them is it?", hint="rename it or its folders"
        )
    return found if said else dict.fromkeys(shards, own or "test")


def require_one_configuration(files: Files, shards: Sequence[str]) -> None:
    """Raises UserError where the README names several configurations of these shards, or where they lie in folders that
    are no splits."""
    configurations = {name: found for name, found in _configurations(files, shards).items() if found}
    if len(configurations) > 1 and len(set(configurations.values())) > 1:
        few = ", ".join(f"{name} ({found[0]})" for name, found in list(configurations.items())[:3])
        raise UserError(
            f"{files.title} has {len(configurations)} configurations: {few}", hint="give --from a folder of one of them"
        )
    folders: dict[str, str] = {}
    for path in shards:
        folders.setdefault(without_splits(path.split("/")[:-1]), path)
    if len(folders) > 1:
        few = ", ".join(f"{folder or '.'}/ ({path})" for folder, path in list(folders.items())[:3])
        one = next(folder for folder in folders if folder)
        raise UserError(
            f"{files.title} has several configurations, or datasets: {few}",
            hint=f"give --from the folder of one of them: --from {files.root / one if files.root else one}",
        )


def _configurations(files: Files, shards: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which of `shards` each configuration has that the README of a repository names."""
    found: dict[str, tuple[str, ...]] = {}
    for one in _named_configurations(files):
        if isinstance(one, dict) and isinstance(one.get("config_name"), str):
            patterns = list(islice(_patterns(one.get("data_files")), MAX_PATTERNS))  # YAML's aliases can make many
            found[one["config_name"]] = tuple(p for p in shards if any(fnmatch(p, pattern) for pattern in patterns))
    return found


def _patterns(data_files: Any) -> Iterator[str]:
    """The patterns of "a", ["a"], [{"split": "train", "path": "a"}] or {"train": "a"}."""
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, dict):
        yield from _patterns(data_files.get("path", list(data_files.values())))
    elif isinstance(data_files, list):
        for one in data_files:
            yield from _patterns(one)


def _named_configurations(files: Files) -> list[Any]:
    """What the hub's README says of them; nothing where there is none."""
    from huggingface_hub import RepoCard

    path = next((path for path in files.sizes if path.lower() == "readme.md"), None)
    if path is None or files.sizes[path] > MAX_README:
        return []
    text = files.read(path, at_most=MAX_README).decode("utf8", errors="replace")
    if not text.startswith("---"):
        return []
    try:
        named = RepoCard(text, ignore_metadata_errors=True).data.get("configs")
    except Exception:  # whatever the YAML parser stumbles over: it says nothing then
        return []
    return named if isinstance(named, list) else []
