"""What `mmcoa show RUN|EXAMPLES` does: images before and under an attack, and the prompts that it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from store.errors import UserError
from store.index import Index
from store.printable import visible

from .. import catalog
from ..attacks import ATTACKS
from ..datasets.contact_sheet import show_dataset
from ..datasets.library import dataset_path, registered_datasets
from ..names import meant
from ..settings import Home
from ..tasks import TASKS
from ..terminal.console import out, show
from .pictures import Picture, Source, named, pictures, prompts, source_in, source_of, words_of
from .reading import together

if TYPE_CHECKING:
    from store.schema import Result, Run

    from ..datasets.contact_sheet import Tile

PREVIEW = 3  # images in the terminal
TILES = 3  # of an image: before, what was added, under the attack


def show_each(
    names: Sequence[str],
    home: Home,
    *,
    split: str,
    pixel_size: int | None,
    dataset: str | None,
    attack: str | None,
    output: Path | None,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Draw the sheets of runs, example sets and datasets, and print what is on them unless `quiet`; returns a document
    for each.

    Raises UserError for a name that is none of these.
    """
    shown: list[dict[str, Any]] = []
    for name in names:
        examples = named(name, home)
        if examples:
            shown.append(show_examples(examples, home, output=output, quiet=quiet))
        elif dataset_path(name, home).exists() or name in catalog.datasets():
            shown.append(show_dataset(name, home, split=split, pixel_size=pixel_size, output=output, quiet=quiet))
        else:
            shown += show_run(name, home, dataset=dataset, attack=attack, output=output, quiet=quiet)
    return shown


def show_run(
    name: str, home: Home, *, dataset: str | None, attack: str | None, output: Path | None, quiet: bool
) -> list[dict[str, Any]]:
    """The sheets of a run (or the beginning of its id), one for each attack on images, and what attacks on texts wrote.

    Raises UserError for a run that is not there, and for one that was not attacked so.
    """
    run = _run(name, home)
    found = list(_newest(run.id, home, dataset=dataset or "", attack=attack or ""))
    if not found:
        where = f" on {dataset}" if dataset else ""
        raise UserError(
            f"run {run.id} has no {f'{attack} ' if attack else ''}examples{where} to show",
            hint=f"mmcoa attack image --checkpoint {run.id} --dataset {dataset or run.source or 'DATASET'}",
        )
    if output and sum(bool(ATTACKS[result.attack].images) for result in found) > 1:
        raise UserError(f"several attacks would be drawn into {output.name}", hint="add --attack NAME")
    return [_shown(source_of(result, home), home, asked=bool(attack), output=output, quiet=quiet) for result in found]


def show_examples(path: Path, home: Home, *, output: Path | None, quiet: bool) -> dict[str, Any]:
    """The sheet of an example set, which lies beside its file, and the prompts in it.

    Raises UserError for a damaged file, and for one without images and prompts of its own.
    """
    source = source_in(path, home)
    if ATTACKS[source.attack].changes_nothing:
        raise UserError(f"{path} holds no images and no prompts of an attack", hint=f"mmcoa show {source.dataset}")
    if not _has_own(source.task):
        raise UserError(
            f"{path} holds what the task {source.task} found, and no images", hint=f"mmcoa show {source.run or 'RUN'}"
        )
    return _shown(source, home, asked=True, output=output or path.with_suffix(".png"), quiet=quiet)


def _run(name: str, home: Home) -> Run:
    """Raises UserError for what is neither a run nor a dataset."""
    index = Index(home.database_url)
    try:
        return index.find_run(name)
    except UserError as error:
        ids = [run.id for run in index.runs()]
        if any(run.startswith(name) for run in ids):
            raise
        hint = meant(name, [*ids, *registered_datasets(home)]) or "mmcoa fetch --list shows the datasets"
        raise UserError(f"there is no run, dataset or example set called {name!r}", hint=hint) from error


def _newest(run: str, home: Home, *, dataset: str, attack: str) -> Iterator[Result]:
    """The newest result of each attack that changes something, on one dataset: the one asked for, else what the run was
    trained on, else the first that it was tested on."""
    every = together(Index(home.database_url).results(runs=[run], datasets=[dataset] if dataset else None))
    every = [one for one in every if one.main.threat and attack in ("", one.main.attack) and _has_own(one.main.task)]
    tested = [one.main.dataset for one in every]
    wanted = next((one.run.source for one in every if one.run.source in tested), next(iter(tested), ""))
    newest = {one.main.attack: one.main for one in every if one.main.dataset == wanted}
    for name, known in ATTACKS.items():  # what shows only what others made is shown where it is asked for
        if name in newest and (attack or known.images or known.prompts):
            yield newest[name]


def _has_own(task: str) -> bool:
    """Whether the example sets of a task have images of their own."""
    return task in TASKS and not TASKS[task].examples_of


def _shown(source: Source, home: Home, *, asked: bool, output: Path | None, quiet: bool) -> dict[str, Any]:
    attack = ATTACKS[source.attack]
    seen = pictures(source, home) if attack.images or (asked and attack.images_of) else []
    path = (output or home.runs / source.run / f"{source.dataset}.{source.attack}.png") if seen else None
    written = prompts(source, home) if attack.prompts or (asked and attack.prompts_of) else []
    if path:
        _draw(seen, path, title=source.title)
    if not quiet:
        _print(source, seen, written, path)
    return {
        "run": source.run or None,
        "dataset": source.dataset,
        "attack": source.attack,
        "path": path,
        "images": [_document(picture) for picture in seen],
        "prompts": [{"class": name, "clean": clean, "adversarial": adv} for name, clean, adv in written],
    }


def _document(picture: Picture) -> dict[str, Any]:
    (before, after), (sure, still) = picture.said, picture.sure or (None, None)
    return {
        "index": picture.index, "label": picture.label, "prediction": before, "adversarial_prediction": after,
        "probability": sure, "adversarial_probability": still,
        "largest_change": picture.reach / 255, "enlarged": picture.factor,
    }  # fmt: skip


def _draw(seen: Sequence[Picture], path: Path, *, title: str) -> None:
    from ..datasets.contact_sheet import draw

    path.parent.mkdir(parents=True, exist_ok=True)
    draw([_tiles(picture) for picture in seen], path, title=title)


def _tiles(picture: Picture) -> list[Tile]:
    from ..datasets.contact_sheet import Tile

    before, after = (f"\nseen as {words}" if words else "" for words in picture.words)
    return [
        Tile(picture.label + before, lambda: picture.clean),
        Tile(f"change ≤ {picture.reach:.3g}/255,\nenlarged × {picture.factor:.3g}", lambda: picture.perturbation),
        Tile("under the attack" + after, lambda: picture.shown),
    ]


def _print(source: Source, seen: Sequence[Picture], written: Sequence[tuple[str, str, str]], path: Path | None) -> None:
    show(f"{source.attack} attack on {source.dataset}" + (f": {path}" if path else ""))
    for picture in seen:
        before, after = picture.words
        show(f"  image {picture.index}, {picture.label}: {before} -> {after}")
    if seen and out.is_terminal and out.color_system and not out.no_color:
        from ..terminal.half_blocks import gallery

        tiles = [tile for picture in seen[:PREVIEW] for tile in _tiles(picture)]
        images, labels = [tile.load() for tile in tiles], [tile.label for tile in tiles]
        out.print(gallery(images, labels, width=out.width, together=TILES))
    for name, clean, adversarial in written:
        out.print(_line(name, clean, adversarial), soft_wrap=True)


def _line(name: str, clean: str, adversarial: str) -> Text:
    """A prompt before and after, its new word marked where there are colours."""
    line = Text(visible(f"  {name}: {clean} ->"))
    for word, new in words_of(clean, adversarial):
        line.append(" ")
        line.append(visible(word), style="bold underline" if new else "")
    return line
