"""A model as a folder that others load: its files, a card, and its results as the hub reads them."""

from __future__ import annotations

from pathlib import Path

from store.files import replacing

from ..terminal.checks import require_new
from .card import card
from .eval_results import eval_results
from .handed import Handed
from .layouts import Layout


def export(handed: Handed, layout: Layout, folder: Path, *, licence: str = "", repository: str = "") -> list[Path]:
    """Write the model to `folder`, for the hub's `repository` where it goes there; returns the files, whole or none.

    Raises UserError for a folder that is not empty, and for a model that the layout has no place for.
    """
    require_new(folder)
    with replacing(folder) as partial:
        partial.mkdir()
        layout.write(handed.clip, partial, repository)
        place = layout.hub.format(place=repository) if repository else layout.local.format(place=folder.name)
        text = card(handed, layout, place=place, licence=licence, title=repository.partition("/")[2] or handed.name)
        (partial / "README.md").write_text(text, encoding="utf8")
        for name, results in eval_results(handed.rows).items():
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_text(results, encoding="utf8")
    return sorted(path for path in folder.rglob("*") if path.is_file())
