"""Whether what is stored is intact: all of it read again, nothing taken from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from store.errors import UserError
from store.verification import remembered_digest

from ..settings import Home
from ..terminal.console import progress
from ..terminal.errors import explained
from .items import CHECKPOINT, DATASET, EXAMPLES, INDEX, KINDS, MLM, MODEL, Item, answers, items, size_of


@dataclass(frozen=True)
class Finding:
    """What was looked at; `reason` says what is wrong with it, `advice` what to type: both empty where it is intact."""

    kind: str
    name: str
    bytes: int
    reason: str = ""
    advice: str = ""


def verify(home: Home, names: list[str], *, quiet: bool) -> list[Finding]:
    """Look at all of the store, or at what `names` name. Raises UserError for a name that nothing has."""
    chosen = [item for item in items(home) if not names or any(answers(item, name) for name in names)]
    for name in names:
        if not any(answers(item, name) for item in chosen):
            hint = "mmcoa store verify looks at everything; a key is named by 4 characters or more"
            raise UserError(f"nothing in the store is called {name!r}", hint=hint)
    sizes = {item: size_of(item.path) for item in chosen}
    found = []
    with progress("verifying", total=sum(sizes.values()), unit="bytes", quiet=quiet) as task:
        for item in chosen:
            reason, advice = _look(item, home)
            found.append(Finding(item.kind, item.name, sizes[item], reason, advice))
            task.advance(sizes[item])
    return found


def table(found: list[Finding]) -> RenderableType:
    """A line a kind, then what is damaged, with what to do about it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for kind in KINDS:
        of_kind = [entry for entry in found if entry.kind == kind]
        damaged = [entry for entry in of_kind if entry.reason]
        if of_kind:
            size = decimal(sum(entry.bytes for entry in of_kind))
            status = Text("damaged", style="bold red") if damaged else Text("ok", style="green")
            grid.add_row(status, kind, f"{len(of_kind) - len(damaged)} of {len(of_kind)} intact", size)
        for entry in damaged:
            grid.add_row("", "", Text(f"{entry.name}: {entry.reason}\n> {entry.advice}", style="bold"))
    return grid if found else Text("the store is empty")


def verdict(found: list[Finding]) -> UserError | None:
    """The error that `mmcoa store verify` ends with, None where all is intact."""
    damaged = [entry for entry in found if entry.reason]
    if not damaged:
        return None
    shown = ", ".join(f"{entry.kind} {entry.name}" for entry in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return UserError(f"damaged: {shown}{more}", hint=damaged[0].advice)


def _look(item: Item, home: Home) -> tuple[str, str]:
    """What is wrong, and what to type."""
    try:
        reason, advice = LOOK[item.kind](item, home)
        return (reason, advice) if reason else ("", "")
    except UserError as error:
        return str(error), explained(error).hint
    except OSError as error:
        return str(error), "see whether the disk is well, and whether you may read it"


def _dataset(item: Item, _: Home) -> tuple[str, str]:
    from store.datasets import Dataset

    Dataset.open(item.path, again=True).close()
    return "", ""


def _model(item: Item, _: Home) -> tuple[str, str]:
    from ..models.digests import verify as verify_model

    for file in sorted(item.path.rglob("*")):
        hidden = any(
            part.startswith(".") for part in file.relative_to(item.path).parts
        )  # what is only remembered of it
        if file.is_file() and not hidden:
            remembered_digest(file, again=True)
    verify_model(item.path, name=item.name)
    return "", ""


def _checkpoint(item: Item, _: Home) -> tuple[str, str]:
    from store.checkpoints import damage

    run = item.path.parent.name
    return damage(item.path) or "", f"remove {item.path}, then: mmcoa train --resume {run}"


def _examples(item: Item, _: Home) -> tuple[str, str]:
    from store.example_reading import damage

    return damage(item.path) or "", f"remove {item.path}; the command that made it makes it again"


def _index(_: Item, home: Home) -> tuple[str, str]:
    from store.index import Index

    Index(home.database_url).verify()
    return "", ""


LOOK: dict[str, Callable[[Item, Home], tuple[str, str]]] = {
    DATASET: _dataset,
    MODEL: _model,
    MLM: _model,
    CHECKPOINT: _checkpoint,
    EXAMPLES: _examples,
    INDEX: _index,
}
