"""Reports as one HTML page that is whole in itself: tables, figures, pictures, and where each number is from.

Nothing in it runs or loads. Every text is escaped; figures are inline SVG, pictures are part of the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import UserError
from store.index import Index

from .. import __version__
from ..attacks import ATTACKS
from ..settings import Home
from ..terminal.checks import require_folder
from .content import Report
from .drawing import svg
from .figure import caption
from .pictures import Picture, pictures, prompts, source_of, words_of
from .rows import Row
from .sheet import Sheet
from .templates import filled
from .wording import BOLD, in_percent, number

if TYPE_CHECKING:
    from store.schema import Result

MOST_PICTURES, MOST_PROMPTS = 4, 20  # of an attack


@dataclass(frozen=True)
class Shown:
    """What an attack did to some images, or to the prompts."""

    title: str
    pictures: list[dict[str, Any]]
    prompts: list[tuple[str, str, list[tuple[str, bool]]]]  # the words of the new one, and whether each is new


@dataclass(frozen=True)
class Part:
    """One report on the page. `problem` says why there is none."""

    anchor: str
    title: str
    sheets: list[Sheet] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    svg: str = ""
    caption: list[str] = field(default_factory=list)  # of the figure
    examples: list[Shown] = field(default_factory=list)
    origins: list[dict[str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problem: str = ""


def check_page(path: Path | None) -> None:
    """Raises UserError for a file that no page can be written to."""
    if path and path.suffix.lower() != ".html":
        raise UserError(f"{path.name} is no page", hint="end it in .html")
    if path:
        require_folder(path)


def page(parts: Sequence[Part], *, title: str) -> str:
    """The page of these parts, with a table of contents where they are several."""
    return filled("page.html.jinja", title=title, parts=parts, made=f"Made by mmcoa {__version__}.")


def part_of(report: Report, home: Home | None = None) -> Part:
    """A report as a part of a page; with `home`, it shows examples of its attacks from that store."""
    sheets = report.sheets()
    rows = [row for row in report.rows if row.evaluation]
    return Part(
        anchor=report.table.name,
        title=report.title,
        sheets=sheets,
        notes=list(dict.fromkeys([*([BOLD] if any(s.marked for s in sheets) else []), *_notes(sheets)])),
        svg=svg(report.figure, home) if report.figure else "",
        caption=caption(report.figure, sheets) if report.figure else [],
        examples=list(_examples(rows, home)) if home else [],
        origins=[_origin(row) for row in rows],
        commands=report.made_by(rows) if report.made_by else [],
        missing=list(dict.fromkeys(entry["command"] for entry in report.missing.entries())) if report.missing else [],
    )


def _notes(sheets: Sequence[Sheet]) -> list[str]:
    return [note for sheet in sheets for note in sheet.notes]


def _origin(row: Row) -> dict[str, str]:
    """What the number of a row is of, and where, when and in what time it was measured."""
    return {
        "run": row.run,
        "dataset": row.dataset,
        "attack": row.attack,
        "metric": row.metric.replace("_", " "),
        "%" if in_percent(row) else "value": number(row, row.value),
        "95%": "–".join(number(row, end) for end in row.ci95),
        "n": f"{row.n:,}",
        "seed": str(row.seed),
        "evaluation": row.evaluation[:8],
        "weights": row.weights[:8],
    }


def _examples(rows: Sequence[Row], home: Home) -> Iterator[Shown]:
    """Of each attack that makes images or prompts, what it did to the last line's model."""
    index = Index(home.database_url)
    last = {row.attack: row for row in rows}
    for name, attack in ATTACKS.items():
        if name not in last or not (attack.images or attack.prompts):
            continue
        results = index.evaluation(last[name].evaluation)
        try:
            yield _shown(results[0], home)
        except (UserError, KeyError, IndexError):
            continue  # not in this store, or not as it was: the number stands all the same


def _shown(result: Result, home: Home) -> Shown:
    attack, source = ATTACKS[result.attack], source_of(result, home)
    found = pictures(source, home, most=MOST_PICTURES) if attack.images else []
    changed = [one for one in prompts(source, home) if one[1] != one[2]][:MOST_PROMPTS] if attack.prompts else []
    written = [(name, clean, words_of(clean, adversarial)) for name, clean, adversarial in changed]
    return Shown(source.title, [_embedded(one) for one in found], written)


def _embedded(picture: Picture) -> dict[str, Any]:
    before, after = picture.words
    words = f"{picture.label}: seen as {before}, then as {after}" if before else picture.label
    images = [_data_url(pixels) for pixels in (picture.clean, picture.perturbation, picture.shown)]
    return {
        "images": images,
        "words": f"{words}; change ≤ {picture.reach:.3g}/255, enlarged {picture.factor:.3g} times",
    }


def _data_url(pixels: Any) -> str:
    from PIL import Image

    from ..datasets.contact_sheet import TILE

    image = Image.fromarray(pixels)
    if image.width > TILE:
        image = image.resize((TILE, TILE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
