"""mmcoa from Python: `import mmcoa_cli as mmcoa`.

    model = mmcoa.load("mmcoa-digits-5shot")                       # a run, or a model: a module as open_clip's are
    found = mmcoa.attack(model, images, labels, class_names)       # adversarial images, for any model of open_clip
    mmcoa.evaluate("mmcoa-digits-5shot", "digits", attack="image") # as the command: made once, stored, indexed
    mmcoa.results(dataset="digits")                                # everything in the index, as a table

It goes through what the command line goes through: the same settings, keys and stored results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from store.dataset_info import DatasetInfo
from store.errors import UserError as UserError
from store.index import Index

from . import catalog, plugins
from .attacks.base import usual
from .jobs.evaluation_spec import evaluation_spec
from .jobs.in_memory import NAME, attacked, trial_in_memory
from .jobs.in_memory import Attacked as Attacked
from .jobs.job import Start
from .jobs.training_spec import DEFAULT_DATASET
from .models.api_model import Model as Model
from .models.api_model import evaluating
from .models.current_digests import Present
from .models.load import load_mlm, load_subject
from .models.runs import epoch_before_the_last, require_whole, run_of
from .plans import typed_jobs
from .reports import results as of_outcomes
from .reports.reading import rows_of, together
from .reports.rows import as_dicts
from .settings import home
from .terminal.console import say

if TYPE_CHECKING:
    import pandas as pd

Names = str | Sequence[str]
OF_DATASETS = {"limit", "pixel_size", "epoch", "task"}  # options of `evaluate` that mean nothing for images in hand
plugins.load()


def load(name: str, *, epoch: int | None = None, device: str | torch.device = "cpu") -> Model:
    """The model of a run (the beginning of its id is enough), in the end or after an `epoch`; or a model by its name,
    fetched where it is not there. Raises UserError for a name that is neither."""
    store, index = home(), Index(home().database_url)
    run = run_of(name, store, index)
    before = epoch_before_the_last(run, epoch)
    if before:
        require_whole(run, store, before)
    return Model(load_subject(run, store, epoch=before).to(torch.device(device)), run=run.id)


def attack(
    model: Any,
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    attack: str = "image",
    *,
    template: str = catalog.TEMPLATE,
    tokenizer: Any = None,
    indices: Sequence[int] | None = None,
    progress: bool = False,
    **options: Any,
) -> Attacked:
    """Attack `images`, pixels in [0, 1], (n, 3, S, S) of any S, of the classes `labels`, (n,), with the prompts that
    `template` makes of `class_names`. Nothing is stored, and nothing printed but with `progress`.

    `model` is one of `load`, or any of open_clip with its `tokenizer`. `options` are those of `mmcoa evaluate`: eps,
    alpha, steps, norm, seed, mlm, batch_size, precision and what `mmcoa list attacks` names. Random starts are drawn by
    the numbers of the images, `indices` (0, 1 ... where they are left out), and are then those of the command line.
    Raises UserError for what cannot be attacked.
    """
    _require_images(images, labels, class_names)
    numbers = range(len(labels)) if indices is None else indices
    if len(numbers) != len(labels):
        raise UserError(f"{len(numbers)} indices for {len(labels)} images", hint="one for each image")
    for option in OF_DATASETS & options.keys():
        raise UserError(f"{option} would be ignored: the images are given", hint="leave it out, or use evaluate")
    spec = evaluation_spec("", (NAME,), (attack,), **options)
    info = DatasetInfo(NAME, tuple(class_names), images.shape[-1], None, template, "")
    trial = trial_in_memory(spec, images.detach().float(), labels, info, indices=numbers, quiet=not progress)
    mlm = load_mlm(spec.mlm, home()) if spec.takes_words else None
    with evaluating(model, tokenizer, precision=spec.precision) as victim:
        if mlm:
            mlm.model.to(victim.device)
        return attacked(trial, victim, mlm)


def evaluate(
    checkpoint: Names, dataset: Names = DEFAULT_DATASET, attack: Names = (), *, epoch: int | None = None, **options: Any
) -> Any:
    """Test runs or models (names) on datasets of the store under attacks, the usual ones where none is named, and
    return the rows as `results` does. What is stored is not computed again. `options` are those of `mmcoa evaluate`."""
    attacks, datasets = _names(attack) or usual(), _names(dataset)
    specs = [evaluation_spec(name, datasets, attacks, epoch=epoch, **options) for name in _names(checkpoint)]
    done = typed_jobs.evaluate(specs, Start())
    done.end()
    return _table(of_outcomes.document(done.outcomes)["rows"])


def results(*, run: Names = (), dataset: Names = (), attack: Names = (), method: Names = (), model: Names = ()) -> Any:
    """The rows of everything in the index, or of these: a DataFrame of pandas, a list of dicts without it. Columns are
    those of `mmcoa report --json`; values are fractions."""
    index, runs, datasets, attacks = Index(home().database_url), _names(run), _names(dataset), _names(attack)
    found = index.results(runs=runs or None, datasets=datasets or None, attacks=attacks or None)
    methods, models = _names(method), _names(model)
    kept = [
        (of, result)
        for of, result in found
        if (not methods or of.method in methods) and (not models or of.model in models)
    ]
    return _table(as_dicts(rows_of(together(kept), present=Present(home()))))


def _names(given: Names) -> tuple[str, ...]:
    """One name, several with commas between them, or a sequence of them."""
    return tuple(name.strip() for name in given.split(",")) if isinstance(given, str) else tuple(given)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame | list[dict[str, Any]]:
    try:
        import pandas as pd
    except ImportError:
        say("for a DataFrame instead of a list: pip install pandas")
        return rows
    return pd.DataFrame(rows)


def _require_images(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> None:
    """Raises UserError for what no attack takes."""
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or not len(images):
        raise UserError(f"images of the shape {tuple(images.shape)}", hint="(n, 3, S, S): RGB, square")
    if not images.is_floating_point() or images.amin() < 0 or images.amax() > 1:
        raise UserError("images that are no pixels in [0, 1]", hint="without normalisation: uint8.float() / 255")
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise UserError(f"labels of the shape {tuple(labels.shape)}", hint="a whole number for each image")
    if not 0 <= int(labels.amin()) <= int(labels.amax()) < len(class_names):
        raise UserError(f"labels that are none of {len(class_names)} classes", hint="0 is the first of class_names")
