"""`mmcoa store export` and `import`: a run with its results, from one store to another.

What is imported may be hostile. Each epoch is what its own specification says, each example set what its checksum
says, and nothing else is in the archive; the run's id is the hash of what it was begun with, and its weights are those
of its row. Files come first and rows of the index last, so that a kill leaves no row without its files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.archives import Archive, open_archive, refused, write_archive
from store.checkpoints import SPEC, STATE, WEIGHTS, damage, load_spec
from store.errors import UserError
from store.examples import stored_set
from store.files import discard, is_held, lock_or_refuse, read_text
from store.index import Index
from store.row_checks import row_of
from store.schema import Epoch, Result, Run

from .. import __version__
from ..jobs.training_identity import run_id
from ..jobs.training_spec import stored_spec
from ..models.epochs import FILES, epochs_in, epochs_of, path_of, require_own
from ..models.runs import ZERO_SHOT, require_whole
from ..models.wrapper_record import checkpoint_digest
from ..names import store_name
from ..settings import Home, require_space

FORMAT = 1
RECORD = "run.json"
TEXTS = (".json", ".txt")
MOMENTS = ("created_at", "finished_at")


@dataclass(frozen=True)
class Moved:
    """What an archive holds of a run; `new` are the evaluations that were not there before."""

    run: str
    path: str
    bytes: int
    files: int
    evaluations: int
    new: int = 0


@dataclass(frozen=True)
class Content:
    """The rows of an archive."""

    run: Run
    results: list[Result]
    epochs: list[Epoch]

    @property
    def evaluations(self) -> set[str]:
        return {result.evaluation for result in self.results}


def export(home: Home, name: str, path: Path, *, examples: bool = False) -> Moved:
    """Write a finished run to `path`: its rows, its epochs, and the `examples` it was tested with, if asked for."""
    if path.exists():
        raise UserError(f"{path} is there already", hint="take another name")
    index = Index(home.database_url)
    run = index.find_run(name)
    if run.kind != ZERO_SHOT:
        require_whole(run, home)
    if is_held(home.runs / run.id):
        raise UserError(f"run {run.id} is used by another process", hint="wait until that has ended")
    results = [result for _, result in index.results(runs=[run.id])]
    keys = {result.examples for result in results} if examples else set()
    found = [home.runs / run.id / RECORD, *(home.examples / f"{key}.h5" for key in sorted(keys))]
    for epoch in epochs_in(home.checkpoints / run.id):
        found += [file for file in sorted(epoch.iterdir()) if file.is_file() and not file.name.startswith(".")]
    files = {file.relative_to(home.root).as_posix(): file for file in found if file.is_file()}
    rows = {"run": asdict(run), "results": [asdict(one) for one in results]}
    epochs = [asdict(epoch) for epoch in index.epochs(run.id)]
    write_archive(path, {"format": FORMAT, "version": __version__, **rows, "epochs": epochs}, files)
    evaluations = len({one.evaluation for one in results})
    return Moved(run.id, str(path), path.stat().st_size, len(files), evaluations)


def take(home: Home, path: Path) -> Moved:
    """Bring the run of an archive into the store. What is there already stays.

    Raises UserError for what is no such archive, and for a run that is there with other content.
    """
    with open_archive(path) as archive:
        content = _content(archive.document)
        run, size = content.run, sum(archive.sizes.values())
        home.runs.mkdir(parents=True, exist_ok=True)
        require_space(size, folder=home.runs, name=f"run {run.id}")
        with lock_or_refuse(home.runs / run.id, what=f"run {run.id}"):
            index = Index(home.database_url)
            known = index.run(run.id)
            new = _new_evaluations(content, index, known)
            arrived = home.runs / f".{run.id}.partial"
            discard(arrived)
            try:
                for name in archive.sizes:
                    archive.extract(name, arrived / name)
                _require(content, Home(arrived, ""), archive)
                if known is None:
                    discard(home.checkpoints / run.id)  # remains of a run that has no row
                _settle(home, Home(arrived, ""), archive)
            finally:
                discard(arrived)
            if known is None:
                index.save_run(run)
                for epoch in content.epochs:
                    index.save_epoch(epoch)
            index.save_results([result for result in content.results if result.evaluation in new])
    return Moved(run.id, str(path), size, len(archive.sizes), len(content.evaluations), len(new))


def _content(document: Mapping[str, Any]) -> Content:
    """The rows. Raises UserError for what are none, or holds values that no index keeps."""
    try:
        if document["format"] != FORMAT:
            raise refused("it was written by another version of mmcoa")
        run = Run(**document["run"])
        results = [Result(**one) for one in document["results"]]
        epochs = [Epoch(**one) for one in document["epochs"]]
        if not isinstance(run.id, str) or store_name(run.id) != run.id:
            raise refused("its run's id is no name")
        if not isinstance(json.loads(run.spec), dict):
            raise refused("its run has no specification")
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise refused(str(error)) from error
    if {*(one.run_id for one in results), *(one.run_id for one in epochs)} - {run.id}:
        raise refused("some of its results are of another run")
    rows: list[Run | Result | Epoch] = [run, *results, *epochs]
    for row in rows:
        row_of(row)  # refuses what no index keeps
    return Content(run, results, epochs)


def _new_evaluations(content: Content, index: Index, known: Run | None) -> set[str]:
    """The evaluations that are not there yet. Raises UserError where the run, or one of them, is there and another."""
    run, remove = content.run, f"mmcoa store rm {content.run.id}, to take this one instead"
    ours, theirs = asdict(known or run), asdict(run)
    differing = [name for name in ours if name not in MOMENTS and ours[name] != theirs[name]]
    if differing:
        raise UserError(f"run {run.id} is here already, with other {', '.join(differing)}", hint=remove)
    there: dict[tuple[str, str], tuple[str, float, int]] = {
        (one.evaluation, one.metric): (one.run_id, one.value, one.n)
        for _, one in index.results(evaluations=content.evaluations)
    }
    for one in content.results:
        found = there.get((one.evaluation, one.metric))
        if found and found != (one.run_id, one.value, one.n):
            what = f"{one.attack} on {one.dataset}"
            raise UserError(f"the result of {run.id}, {what}, is here already and another", hint=remove)
    return content.evaluations - {evaluation for evaluation, _ in there}


def _require(content: Content, arrived: Home, archive: Archive) -> None:
    """Raises UserError unless the files are those of this run, and nothing else."""
    run, folder = content.run, arrived.checkpoints / content.run.id
    allowed = {f"runs/{run.id}/{RECORD}", *(f"examples/{one.examples}.h5" for one in content.results)}
    for epoch in epochs_in(folder):
        if reason := damage(epoch):
            raise refused(f"{epoch.name}: {reason}")
        require_own(epoch)
        texts = [name for name in load_spec(epoch).get(FILES, {}) if name.endswith(TEXTS)]
        allowed |= {f"checkpoints/{run.id}/{epoch.name}/{name}" for name in (SPEC, WEIGHTS, STATE, *texts)}
    if others := sorted(set(archive.sizes) - allowed):
        raise refused(f"{others[0]} is no part of its run")
    for file in sorted(arrived.examples.glob("*.h5")):
        stored_set(file)
    if run.kind != ZERO_SHOT:
        _require_weights(run, folder)
    if run.kind == "train":
        _require_id(run, arrived)


def _require_weights(run: Run, folder: Path) -> None:
    last = path_of(folder, epochs_of(run))
    if run.status != "complete" or not last.is_dir():
        raise refused("its last epoch is not in it")
    if checkpoint_digest(last, name=run.model) != run.weights:
        raise refused("its weights are not those of its run")


def _require_id(run: Run, arrived: Home) -> None:
    """The id is a hash of what the run was begun with, and its row says the same as its specification."""
    try:
        begun = json.loads(read_text(arrived.runs / run.id / RECORD))
        spec = stored_spec(run.method, run.spec)
        same = run_id(spec, begun["identity"]) == run.id and begun["identity"]["method"] == run.method
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise refused(f"its {RECORD}: {error}") from error
    if not same or (spec.dataset, spec.shots, spec.seed) != (run.source, run.shots, run.seed):
        raise refused(f"{run.id} is not the id of what it was trained with")


def _settle(home: Home, arrived: Home, archive: Archive) -> None:
    """Put the files where they belong; what is there stays."""
    for place in dict.fromkeys(_place(name) for name in archive.sizes):
        target = home.root / place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (arrived.root / place).rename(target)


def _place(name: str) -> str:
    """What is moved in one piece: an epoch is a folder."""
    parts = name.split("/")
    return "/".join(parts[:3]) if parts[0] == "checkpoints" else name
