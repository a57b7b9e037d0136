"""`mmcoa store ls` and `info`: what is stored, how large, since when, and what uses what."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from store.errors import UserError
from store.row_checks import parsed
from store.verification import FOLDER as MEMORY

from ..names import meant, store_name
from ..settings import Home
from .items import DATASET, EXAMPLES, MLM, MODEL, SHORTEST_KEY, Item, items, size_of

if TYPE_CHECKING:
    from store.index import Index
    from store.schema import Link, Run

RUN, EVALUATION = "run", "evaluation"
GROUPS = {"datasets": (DATASET,), "models": (MODEL, MLM), "runs": (RUN,), "examples": (EXAMPLES,)}
ALL = "all"
SHOWN = 12  # characters of a key


@dataclass(frozen=True)
class Entry:
    """One thing that is stored. `uses` and `used_by` are names of others, in words where there are many."""

    kind: str
    name: str
    bytes: int
    since: str
    uses: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    paths: tuple[Path, ...] = field(default=(), compare=False)

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "paths": [str(path) for path in self.paths]}


class Inventory:
    """The store and its index, each looked at once. An index that is not there is not begun."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @cached_property
    def index(self) -> Index | None:
        return self.home.index_if_there()

    @cached_property
    def runs(self) -> list[Run]:
        return self.index.runs() if self.index else []

    @cached_property
    def links(self) -> list[Link]:
        return self.index.links() if self.index else []

    @cached_property
    def tests(self) -> list[tuple[str, str, int]]:
        """Of each run on each dataset how many there are."""
        return self.index.tests() if self.index else []

    @cached_property
    def _of_examples(self) -> Mapping[str, list[Link]]:
        """The evaluations of each example set."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(link.examples, []).append(link)
        return found

    @cached_property
    def _users(self) -> Mapping[str, list[str]]:
        """By what runs started from, or lie between, their ids."""
        found: dict[str, list[str]] = {}
        for run in self.runs:
            for name in {run.model, *_ends(run)}:
                found.setdefault(name, []).append(run.id)
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """All that is stored."""
        things = [self._entry(item) for item in items(self.home) if item.kind in (DATASET, MODEL, MLM, EXAMPLES)]
        return [entry for entry in things if entry.kind != EXAMPLES] + [*self._run_entries()] + [
            entry for entry in things if entry.kind == EXAMPLES
        ]  # fmt: skip

    def paths_of_run(self, run: str) -> tuple[Path, ...]:
        return tuple(path for path in (self.home.runs / run, self.home.checkpoints / run) if path.is_dir())

    def named(self, name: str) -> list[Entry]:
        """What answers to a name: all of it, or the beginning of a key or a run's id."""
        exact = [one for one in self.entries if name in (one.name, _model_name(one))]
        short = [one for one in self.entries if one.kind in (RUN, EXAMPLES) and one.name.startswith(name)]
        return exact or [entry for entry in short if len(name) >= SHORTEST_KEY]

    def find(self, name: str) -> Entry:
        """The one thing that is called so. Raises UserError for none and for several."""
        found = self.named(name)
        if len(found) == 1:
            return found[0]
        if found:
            told = ", ".join(f"{entry.kind} {entry.name}" for entry in found[:5])
            raise UserError(f"{len(found)} things are called {name!r}", hint=f"type more of it: {told}")
        close = meant(name, [entry.name for entry in self.entries if entry.kind != EXAMPLES])
        hint = close or "mmcoa store ls shows what there is; a key is named by 4 characters or more"
        raise UserError(f"nothing in the store is called {name!r}", hint=hint)

    def _entry(self, item: Item) -> Entry:
        uses, used_by = self._uses(item)
        return Entry(item.kind, item.name, size_of(item.path), _since(item.path), uses, used_by, (item.path,))

    def _uses(self, item: Item) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if item.kind == EXAMPLES:
            links = self._of_examples.get(item.name, [])
            return _once(f"{link.attack} on {link.dataset}" for link in links), _once(link.run_id for link in links)
        trained = [run for run in self.runs if item.name in map(_stored_name, _needed(run, item.kind))]
        tests = sum(n for _, dataset, n in self.tests if dataset == item.name and item.kind == DATASET)
        return (), (*(run.id for run in trained), *([counted(tests, EVALUATION)] if tests else []))

    def _run_entries(self) -> Iterator[Entry]:
        folders = [path.name for path in sorted(self.home.checkpoints.glob("[!.]*")) if path.is_dir()]
        tests: Counter[str] = Counter()
        for run_id, _, n in self.tests:
            tests[run_id] += n
        known = {run.id: run for run in self.runs}
        for name in dict.fromkeys([*known, *folders]):
            run, paths = known.get(name), self.paths_of_run(name)
            since = run.created_at if run else min(map(_since, paths), default="")
            uses = _once(filter(None, (run.source, run.model))) if run else ("not in the index",)
            used_by = (*self._users.get(name, ()), *([counted(tests[name], EVALUATION)] if tests[name] else []))
            yield Entry(RUN, name, sum(map(size_of, paths)), since, uses, used_by, paths)


def chosen(inventory: Inventory, group: str) -> list[Entry]:
    kinds = GROUPS.get(group)
    return [entry for entry in inventory.entries if kinds is None or entry.kind in kinds]


def table(entries: Sequence[Entry]) -> RenderableType:
    """A line a thing, kind by kind, and what all of it takes; below a thing what it uses, and what uses it."""
    if not entries:
        return Text("nothing is stored")
    names = [entry.name[:SHOWN] if entry.kind == EXAMPLES else entry.name for entry in entries]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(Text("kind", style="dim"), no_wrap=True)
    grid.add_column(Text("name", style="dim"), overflow="fold", min_width=max(map(len, names)))  # copied in one piece
    grid.add_column(Text("size", style="dim"), no_wrap=True, justify="right")
    grid.add_column(Text("since", style="dim"), no_wrap=True)
    grid.show_header = True
    for name, entry in zip(names, entries, strict=True):
        grid.add_row(entry.kind, name, decimal(entry.bytes) if entry.paths else "–", entry.since[:10])
        links = (("uses", entry.uses), ("used by", entry.used_by))
        if told := "; ".join(f"{word} {_short(of)}" for word, of in links if of):
            grid.add_row("", Padding(Text(told, style="dim"), (0, 0, 0, 2)))
    grid.add_row("", f"{len(entries)} in all", decimal(sum(entry.bytes for entry in entries)))
    return grid


def about(inventory: Inventory, entry: Entry) -> dict[str, Any]:
    """All of one thing, as a document."""
    files = [file for path in entry.paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    root = inventory.home.root
    sizes = {
        str(file.relative_to(root)): file.stat().st_size
        for file in files
        if file.is_file() and MEMORY not in file.parts
    }
    return {**entry.document(), "files": sizes, **_more(inventory, entry)}


def told(about: Mapping[str, Any]) -> RenderableType:
    """The same for a person: a line a value, documents in lines of their own."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in about.items():
        if name == "files":
            for file, size in value.items():
                grid.add_row("file", f"{file} ({decimal(size)})")
        elif name == "evaluations":
            told = (
                f"{one['attack']} on {one['dataset']}, {one['created_at'][:10]}: {one['evaluation']}" for one in value
            )
            grid.add_row(name, "\n".join(told))
        elif value not in (None, "", (), [], {}) and name != "paths":
            grid.add_row(name, decimal(value) if name == "bytes" else "\n".join(_outlined(value)))
    return grid


def _outlined(value: Any) -> Iterator[str]:
    """Documents as lines "name: value", those within others further in; lists of values in one line."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            lines = [*_outlined(part)] if part not in (None, "", (), [], {}) else []
            nested = isinstance(part, Mapping) or len(lines) > 1
            yield from (
                [f"{name}:", *(f"  {line}" for line in lines)]
                if nested and lines
                else (f"{name}: {line}" for line in lines)
            )
    else:
        yield ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _more(inventory: Inventory, entry: Entry) -> dict[str, Any]:
    if entry.kind == RUN:
        run = next((run for run in inventory.runs if run.id == entry.name), None)
        tests = [link._asdict() for link in inventory.links if link.run_id == entry.name]
        return {"run": {**asdict(run), "spec": json.loads(run.spec)} if run else None, "evaluations": tests}
    if entry.kind == DATASET:
        from store.datasets import Dataset

        return {"about": asdict(Dataset.info_of(entry.paths[0]))}
    if entry.kind == EXAMPLES:
        from store.examples import stored_set

        found = stored_set(entry.paths[0])
        return {"n": found.n, "spec": found.spec, "notes": found.notes, "checksum": found.checksum}
    from ..models.origins import read_record

    return {"about": asdict(read_record(entry.paths[0]))}


def _needed(run: Run, kind: str) -> tuple[str, ...]:
    if kind == DATASET:
        return (run.source,)
    return (run.model,) if kind == MODEL else (str(parsed(run.spec).get("mlm", "")),)


def _ends(run: Run) -> list[str]:
    """The runs that an interpolated one lies between."""
    ends = parsed(run.spec).get("interpolated") or {}
    return [str(end.get("run", "")) for end in ends.values() if isinstance(end, dict)] if isinstance(ends, dict) else []


def _model_name(entry: Entry) -> str:
    """The name that a model was fetched by, where its folder has another."""
    from ..models.origins import fetched_as

    return fetched_as(entry.paths[0]) if entry.kind in (MODEL, MLM) else entry.name


def _stored_name(name: str) -> str:
    try:
        return store_name(name) if name else ""
    except UserError:
        return name


def _short(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _once(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _since(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
