"""What there is to choose from: attacks, methods, tasks, tables, datasets and models, as `mmcoa list` shows them.

Nothing heavy is imported: rows are read, not what they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from . import catalog
from .attacks import ATTACKS
from .catalog import DatasetRow, MethodRow, MlmRow, ModelRow
from .jobs.training_spec import options_of
from .tasks import TASKS

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Entry:
    """One thing to choose: its name, what it is, where it comes from, and its settings with their defaults."""

    name: str
    title: str = ""
    source: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def attacks() -> list[Entry]:
    """List each attack with its own settings, without those of the attacks that it needs."""
    return [Entry(one.name, one.title, one.source, _defaults(one.settings)) for one in ATTACKS.values()]


def methods() -> list[Entry]:
    return [_method(row) for row in catalog.methods().values()]


def tasks() -> list[Entry]:
    return [Entry(one.name, one.title, one.source, _measured(one)) for one in TASKS.values()]


def tables() -> list[Entry]:
    """List the tables and figures that `report --task` and `reproduce` take."""
    return [Entry(row.name, row.title) for row in catalog.tables().values()]


def datasets() -> list[Entry]:
    return [_dataset(row) for row in catalog.datasets().values()]


def models() -> list[Entry]:
    return [_model(row) for row in catalog.models().values()]


def mlms() -> list[Entry]:
    return [_mlm(row) for row in catalog.mlms().values()]


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "attacks": attacks, "methods": methods, "tasks": tasks, "tables": tables, "datasets": datasets, "models": models,
    "mlms": mlms,
}  # fmt: skip


def table(entries: Iterable[Entry]) -> RenderableType:
    """Show names, and beside each what it is, where it comes from, and its settings; 60 columns are enough."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for entry in entries:
        lines = [Text(entry.title), Text(entry.source, style="dim"), Text(_in_words(entry.settings), style="cyan")]
        grid.add_row(entry.name, Text("\n").join(line for line in lines if line))
    return grid


def _in_words(settings: Mapping[str, Any]) -> str:
    """ "eps=1/255  steps=100": as `-o` takes them."""
    return "  ".join(f"{name}={_shown(value)}" for name, value in settings.items())


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    return repr(value) if isinstance(value, str) and " " in value else str(value)


def _defaults(settings: type[Any] | None) -> dict[str, Any]:
    """The fields of a settings dataclass with their defaults."""
    if settings is None:
        return {}
    return {one.name: None if one.default is MISSING else one.default for one in fields(settings)}


def _method(row: MethodRow) -> Entry:
    """A method with the options of `train` that it has; one that trains nothing has none."""
    of_training = {"epochs": row.epochs, "batch_size": row.batch_size, "lr": row.optimizer.lr, "tune": row.trains}
    settings = {**of_training, "optimizer": row.optimizer.name} if row.loss else {}
    return Entry(row.name, row.title, row.source, {**settings, **options_of(row)})


def _measured(task: Any) -> dict[str, Any]:
    return {"metrics": list(task.metrics), "details": list(task.details)}


def _dataset(row: DatasetRow) -> Entry:
    images = ", ".join(f"{count:,} {split}" for split, count in row.splits.items())
    what = f"{row.captions} captions an image" if row.captions else f"{len(row.class_names):,} classes"
    licence = f"; {row.licence}" if row.licence else ""
    settings = {"pixel_size": row.pixel_size, "template": row.template}
    return Entry(row.name, f"{what}, {images} images", f"{row.citation}{licence}", settings)


def _model(row: ModelRow) -> Entry:
    if row.stand_in:
        return Entry(row.name, f"a stand-in, trained on {row.trained_on}", "embedded", {"epochs": row.epochs})
    return Entry(row.name, f"CLIP {row.architecture}", f"open_clip, {row.pretrained}")


def _mlm(row: MlmRow) -> Entry:
    if row.stand_in:
        return Entry(row.name, "a stand-in for a masked language model", "embedded")
    return Entry(row.name, "masked language model", f"{row.repository}@{row.revision[:12]}")
