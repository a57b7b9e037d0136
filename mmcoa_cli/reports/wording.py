"""The words and figures of a report, the same for the terminal, Markdown, LaTeX and HTML.

Here those of a section of one dataset, and all that other layouts say alike; `grid_wording.py` has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from store.errors import UserError

from .. import catalog
from ..attacks.settings import PgdSettings
from .paper import NOTES, marks
from .rows import Row
from .sections import Line, Section, sections

CAPTION = "Clean accuracy, and robust accuracy under each attack, in percent"
COLLISIONS = "collisions: adversarial prompts whose new word is another class's name; none where the line is missing"
DISTINCT = "distinct: adversarial prompts that are different to the model; a tie among m classes counts 1/m"
RELEASE = "release: trained with the gradient leak of the paper's released code (--compat release)"
WIDTHS = "±: the larger side of the 95% Wilson interval; both ends are in --format csv and json"
AVERAGES = (
    "± of an average: the datasets' half widths, added in squares, over their number; it is about the choice of test "
    "images, not of datasets"
)
UNEQUAL = "averages over other datasets are not comparable; the number before each says over how many it is"
SEEDS = "sd: the standard deviation over seeds, and their number"
SIGNS = [f"{sign} {text}" for sign, text in NOTES.items()]
OLD_CODE = ", by an earlier version of mmcoa"
EXPLANATIONS = [WIDTHS, AVERAGES, UNEQUAL, SEEDS, *SIGNS, COLLISIONS, DISTINCT, RELEASE]  # in the order they print
NONE = "–"


@dataclass(frozen=True)
class Printed:
    """One printed line: its `kind` is "value" (of a run) or "detail" (what stands below it)."""

    kind: str
    label: str
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """A section in words: one table with all that is said around it. `notes` explain signs and may repeat in others."""

    title: str
    caption: str
    circumstances: list[str]
    columns: list[str]
    lines: list[Printed]
    trainings: list[str]
    notes: list[str]


def section_sheets(rows: Sequence[Row], *, task: catalog.TableRow, seeds: bool = False, digits: int = 2) -> list[Sheet]:
    """The sections of `rows` in words; intervals have `digits` decimals, all other percentages two."""
    attacks = [attack for attack in task.attacks if any(row.attack == attack for row in rows)]
    return [_sheet(section, attacks, seeds=seeds, digits=digits) for section in sections(rows, seeds=seeds)]


def percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f}"


def _sheet(section: Section, attacks: list[str], *, seeds: bool, digits: int) -> Sheet:
    lines: list[Printed] = []
    for number, line in enumerate(section.lines):
        lines += _value_lines(line, attacks, seeds=seeds, digits=digits)
        later = [other.first.method for other in section.lines[number + 1 :]]
        if line.first.method not in later:
            lines += _reference_line(section, line.first.method, attacks)
    return Sheet(
        plain(_title(section)),
        CAPTION,
        [plain(line) for line in _circumstances(section)],
        attacks,
        lines,
        [plain(line) for line in trainings(section.lines)],
        notes(section.rows, lines),
    )


def plain(text: str) -> str:
    """Names may come from anybody's database: nothing in them moves a cursor or ends a line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _title(section: Section) -> str:
    row = section.rows[0]
    return f"{row.dataset} · {model_name(row)}"


def model_name(row: Row) -> str:
    """The model, and where it is from, unless it is a published one."""
    sha256 = f", sha256 {row.sha256[:8]}" if row.sha256 else ""
    words = {"stand-in": " (a stand-in model)", "own": f" (own weights{sha256})"}
    return row.model + words.get(row.origin, "")


def part_of(row: Row) -> str:
    """What there is of a test set that is only there in part, empty for a whole one."""
    return row.part or ("some classes without any image" if row.partial else "")


def _circumstances(section: Section) -> list[str]:
    """What was measured, and the threat model: a line each for the images, the image attack and the text attack."""
    return [
        _images(section),
        *([image_attack(section.image, side=section.image.pixel_size)] if section.image else []),
        *([text_attack(section.text)] if section.text else []),
    ]


def trainings(lines: Sequence[Line]) -> list[str]:
    """Who was trained with which settings that are not the paper's, and on which part, where the label does not say."""
    by_settings: dict[str, list[str]] = {}
    for line in lines:
        row = line.first
        if row.training and row.training not in line.label:
            by_settings.setdefault(f"trained with {row.training}", []).append(line.label)
        if row.train_part and row.train_part not in line.label:
            by_settings.setdefault(f"trained on a part, {row.train_part}", []).append(line.label)
    return [f"{settings}: {'; '.join(labels)}" for settings, labels in by_settings.items()]


def notes(rows: Sequence[Row], lines: Sequence[Printed]) -> list[str]:
    """The explanations that `rows` and the printed `lines` of them call for."""
    printed = "".join(cell for line in lines for cell in line.cells)
    called = [sign in printed for sign in NOTES]
    called.append(any(row.collisions is not None for row in rows))
    called.append(any(map(shares_prompts, rows)))
    called.append(any(row.train_compat == "release" for row in rows))
    return [text for text, wanted in zip((*SIGNS, COLLISIONS, DISTINCT, RELEASE), called, strict=True) if wanted]


def _value_lines(line: Line, attacks: list[str], *, seeds: bool, digits: int) -> list[Printed]:
    cells = [line.cells.get(attack, []) for attack in attacks]
    lines = [
        Printed(
            "value", plain(line.label), [percent(mean(row.value for row in cell)) if cell else NONE for cell in cells]
        ),
        _spread(cells, seeds=seeds, digits=digits),
    ]
    if any(row.paper is not None for cell in cells for row in cell):
        lines.append(Printed("detail", "paper", [paper_cell(cell[0]) if cell else NONE for cell in cells]))
    if any(row.collisions for cell in cells for row in cell):
        lines.append(Printed("detail", "collisions", [collisions(cell) for cell in cells]))
    if any(shares_prompts(row) for cell in cells for row in cell):
        lines.append(Printed("detail", "distinct", [distinct(cell) for cell in cells]))
    return lines


def _spread(cells: list[list[Row]], *, seeds: bool, digits: int) -> Printed:
    """The deviation over seeds and their number, in brackets; for a line of one seed its intervals."""
    if max(map(len, cells)) > 1:
        return Printed("detail", "sd (seeds)", [deviation([row.value for row in cell]) for cell in cells])
    intervals = ["–".join(percent(end, digits) for end in cell[0].ci95) if cell else NONE for cell in cells]
    return Printed("detail", "95%, 1 seed" if seeds else "95% interval", intervals)


def deviation(values: Sequence[float]) -> str:
    """The sample standard deviation, and of how many values."""
    spread = f"±{percent(stdev(values))}" if len(values) > 1 else NONE
    return f"{spread} ({len(values)})" if values else NONE


def paper_cell(row: Row) -> str:
    return NONE if row.paper is None else percent(row.paper) + marks(row)


def collisions(cell: list[Row]) -> str:
    """ "3/10": of ten prompts three; over seeds, their mean."""
    counts = [row.collisions for row in cell if row.collisions is not None]
    return f"{mean(counts):.3g}/{cell[0].prompts}" if counts else NONE


def distinct(cell: list[Row]) -> str:
    """ "6/10": ten classes have six different adversarial prompts; over seeds, their mean."""
    counts = [row.distinct_prompts for row in cell if row.distinct_prompts is not None]
    return f"{mean(counts):.3g}/{cell[0].prompts}" if counts else NONE


def shares_prompts(row: Row) -> bool:
    """Whether some classes were given the same adversarial prompt."""
    return row.distinct_prompts is not None and row.distinct_prompts != row.prompts


def _reference_line(section: Section, method: str, attacks: list[str]) -> list[Printed]:
    """The paper's numbers after full training, where ours of that method all saw fewer images."""
    rows = [row for row in section.rows if row.method == method]
    numbers = {
        row.attack: percent(row.paper_full) + marks(replace(row, training=""))
        for row in rows
        if row.paper_full is not None
    }
    if not numbers or any(row.shots == "full" for row in rows):
        return []
    return [Printed("detail", "paper, full", [numbers.get(attack, NONE) for attack in attacks])]


def _images(section: Section) -> str:
    row = section.rows[0]
    return ", ".join(
        [
            f"{row.n:,} test images",
            *(["a class-balanced subset"] if row.limit is not None else []),
            *([f"only a part of the dataset ({row.part})"] if row.part else []),
            *(["some classes without any"] if row.partial and not row.part else []),
            *([f"data {section.data}"] if section.data else []),
            *setting(section.rows),
        ]
    )


def setting(rows: Sequence[Row]) -> list[str]:
    """The seeds of `rows`, and what else of their common circumstances is not the default.

    Where the runs were trained with other seeds than they were tested with, both are named.
    """
    row, tested, trained = rows[0], {row.seed for row in rows}, {row.train_seed for row in rows if row.source}
    return [
        *([_seeds(tested)] if trained <= tested else [f"test {_seeds(tested)}", f"training {_seeds(trained)}"]),
        *([row.precision] if row.precision != "fp32" else []),
        *(["compat release"] if row.compat == "release" else []),
    ]


def _seeds(found: set[int]) -> str:
    return f"seed{'s' if len(found) > 1 else ''} {', '.join(map(str, sorted(found)))}"


def image_attack(row: Row, *, side: int | None = None) -> str:
    norm = {"linf": "L-inf", "l2": "L2"}.get(row.norm or "", row.norm)
    pixels = f", on {side} x {side} pixels" if side else ""
    stop = ", each image left once it is fooled" if row.stop_when_fooled else ""
    code = OLD_CODE if row.earlier_code else ""
    caution = f" (warning: {found})" if (found := _caution(row)) else ""
    return f"image attack: {norm}, eps {row.eps}, alpha {row.alpha}, {row.steps} steps{pixels}{stop}{code}{caution}"


def _caution(row: Row) -> str:
    """Why the attack is weaker than its eps says, where it is; what an index from elsewhere has may be no attack."""
    try:
        return PgdSettings(row.norm or "", row.eps or "", row.alpha, row.steps or 0).caution
    except UserError:
        return ""


def text_attack(row: Row) -> str:
    words = f"{row.max_words_changed} word, " if row.max_words_changed else ""
    kind = "the release's own" if row.compat == "release" else "aligned"
    origin = {"stand-in": " (a stand-in)", "own": " (own weights)"}.get(row.mlm_origin or "", "")
    names = ", no other class's name" if row.no_collisions else ""
    earlier = f", an earlier one of that name ({row.mlm_weights[:8]})" if row.earlier_mlm else ""
    code = OLD_CODE if row.earlier_code else ""
    return f"text attack: {words}masked LM {row.mlm}{origin}{earlier}, {kind}{names}{code}"
