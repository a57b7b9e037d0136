"""What stands in and below a figure."""

from __future__ import annotations

from .averages import NAME
from .figure_data import Figure
from .paper import NOTES, marks
from .rows import Row
from .wording import image_attack, model_name, part_of, plain, setting, text_attack

ZERO_SHOT = "0"  # the shots of a model as it comes


def metric(attack: str) -> str:
    """What an axis measures."""
    return f"{'clean' if attack == 'clean' else 'robust'} accuracy, %"


def tick(name: str) -> str:
    """A place's name as it is printed."""
    return "zero-shot" if name == ZERO_SHOT else name


def caption(figure: Figure) -> list[str]:
    """What was measured on which model and data, what the signs are, and what is not drawn: a paragraph each."""
    measured = [row for row in figure.rows if row.evaluation]
    row = measured[0]
    source = next((f"trained on {row.source}, " for row in measured if row.source), "")
    if figure.shots:
        source += f"{'full' if figure.shots == 'full' else f'{figure.shots}-shot'}, "
    subset = f", class-balanced subsets of up to {row.limit:,} images" if row.limit is not None else ""
    image = next((row for row in measured if row.norm is not None), None)
    text = next((row for row in measured if row.mlm is not None), None)
    attacks = [*([image_attack(image)] if image else []), *([text_attack(text)] if text else [])]
    told = [
        f"{model_name(row)}, {source}{', '.join(setting(measured))}{subset}. {_averages(figure)}".rstrip(),
        *(["; ".join(attacks) + "."] if attacks else []),
        " ".join([_bars(figure), *_paper(figure)]),
        *_parts(measured),
        *(
            [f"{figure.left_out} results with other settings, shots or fewer datasets are not drawn."]
            if figure.left_out
            else []
        ),
    ]
    return [plain(line) for line in told]


def _averages(figure: Figure) -> str:
    """Over which datasets the averages are, where there are any."""
    count, names = len(figure.datasets), ", ".join(figure.datasets)
    if figure.task.columns == "dataset":
        return f"average: of {count} datasets." if NAME in figure.xs else ""
    if count == 1:
        return f"Of the datasets only {names}."
    return f"Averages of {count} datasets{'' if count == len(figure.task.datasets) else f' ({names})'}."


def _bars(figure: Figure) -> str:
    return f"Bars: {'the standard deviation over seeds' if figure.several else '95% intervals'}."


def _paper(figure: Figure) -> list[str]:
    """The hollow markers, and what sets them apart."""
    compared = [row for row in figure.rows if row.paper is not None and row.evaluation]
    if not compared:
        return []
    signs = [sign for sign in NOTES if any(sign in marks(row) for row in compared)]
    return ["Hollow: the paper's" + "".join(f"; {NOTES[sign]}" for sign in signs) + "."]


def _parts(measured: list[Row]) -> list[str]:
    """Which datasets, of test or of training, are only there in part."""
    tested = {row.dataset: part for row in measured if (part := part_of(row))}
    trained = dict.fromkeys(row.train_part for row in measured if row.train_part)
    return [
        *([f"Only a part: {'; '.join(f'{name}, {part}' for name, part in tested.items())}."] if tested else []),
        *([f"Trained on a part: {'; '.join(trained)}."] if trained else []),
    ]
