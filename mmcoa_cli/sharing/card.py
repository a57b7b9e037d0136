"""The card of a model that is handed on: Markdown under the hub's front matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .. import __version__, catalog
from ..attacks.base import needs_masked_lm
from ..datasets.prompts import class_prompts
from ..jobs.training_spec import TrainSpec
from ..models.origins import STAND_IN
from ..models.runs import INTERPOLATED
from ..models.save import in_words
from ..reports.metrics import percent
from ..reports.rows import Row
from ..reports.templates import filled
from ..reports.threats import attack_name
from .eval_results import hub_dataset, under
from .handed import Handed
from .layouts import Layout

PAPER = (
    "Zhou, Bai, Zhao and Chen, Revisiting the Adversarial Robustness of Vision Language Models: a Multimodal "
    "Perspective, arXiv 2404.19287"
)
CLIP = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, arXiv 2103.00020"
ARXIV = re.compile(r"arXiv [\d.]*\d")


def card(handed: Handed, layout: Layout, *, place: str, licence: str, title: str) -> str:
    """The card of a model in a layout, which is loaded from `place`. `licence` is the hub's name of one, or empty."""
    from markupsafe import Markup

    marks = {text: f"({number})" for number, text in enumerate(dict.fromkeys(map(under, handed.rows)), start=1)}
    loading = layout.loading.format(place=place, prompts=_prompts(handed))
    return filled(
        "card.md.jinja",
        front=Markup(_front(handed, layout, licence)),  # not escaped: this and the code are no Markdown
        title=title,
        what=_what(handed),
        warnings=_warnings(handed),
        made=_made(handed),
        results=[_result(row, marks[under(row)]) for row in handed.rows],
        threats=[(mark, text) for text, mark in marks.items()],
        loading=Markup(loading),
        cited=_cited(handed),
        licence=_licence(handed, licence),
        version=__version__,
    )


def _front(handed: Handed, layout: Layout, licence: str) -> str:
    from huggingface_hub import ModelCardData

    trained_on = hub_dataset(handed.run.source)
    kinds = ["adversarial-robustness", *(["adversarial-training"] if handed.training.row.attacks else [])]
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if handed.base and handed.trained else {}
    data = ModelCardData(
        license=licence or None, library_name=layout.name, pipeline_tag="zero-shot-image-classification",
        tags=["clip", *kinds, "mmcoa", handed.run.method], base_model=handed.base or None,
        datasets=[trained_on] if trained_on else None, **relation,
    )  # fmt: skip
    return data.to_yaml()


def _what(handed: Handed) -> str:
    run = handed.run
    if handed.trained:
        after = f", as it was after epoch {handed.epoch}" if handed.epoch else ""
        return f"The CLIP {run.model}, trained with {run.method} on {run.source}{after}."
    if run.kind == INTERPOLATED:
        return f"A CLIP between two: {handed.about.get('told', '')}."
    return f"The CLIP {run.model} as it comes: nothing was trained."


def _warnings(handed: Handed) -> list[str]:
    if handed.run.model_origin != STAND_IN:
        return []
    return ["A stand-in: a real but small model, whose numbers say nothing of CLIP."]


def _made(handed: Handed) -> list[tuple[str, str]]:
    """What it was made of and with, each with its name."""
    run, found = handed.run, [("model", f"{handed.run.model} ({in_words(handed.clip.config['model_cfg'])})")]
    found += [("from", handed.base)] if handed.base else []
    if not handed.trained:
        return [*found, ("run", run.id)]
    spec = handed.training
    row = catalog.datasets().get(run.source)
    shots = "all training images" if run.shots == "full" else f"{run.shots} training images a class"
    words = [f"masked LM {spec.mlm}"] if needs_masked_lm(spec.row.attacks) else []
    threats = [f"{attack_name(name)}: {spec.attack(name).in_words()}" for name in spec.row.attacks]
    return [
        *found,
        ("method", f"{run.method}, {spec.row.title}" if spec.row.title else run.method),
        ("data", ", ".join(filter(None, [run.source, shots, row.citation if row else ""]))),
        ("settings", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _settings(spec).items())),
        ("attacks in training", "; ".join([*threats, *words]) or "none"),
        *([("the paper's released code", run.compat)] if run.compat != "none" else []),
        ("run", run.id),
    ]


def _settings(spec: TrainSpec) -> dict[str, Any]:
    """What it was trained with, beside the attacks: the loop, the optimizer as far as it is used, the loss."""
    own = {name: getattr(spec, name) for name in ("epochs", "batch_size", "lr", "tune", "seed", "precision")}
    optimizer = {"optimizer": spec.optimizer, "weight_decay": spec.optimization.decay}
    optimizer |= {"schedule": spec.optimization.schedule}
    return {**own, **optimizer, **(asdict(spec.settings) if spec.settings else {})}


def _result(row: Row, mark: str) -> dict[str, str]:
    low, high = row.ci95
    return {
        "dataset": row.dataset,
        "attack": row.attack,
        "metric": row.metric.replace("_", " "),
        "value": percent(row.value),
        "interval": f"{percent(low)}–{percent(high)}",
        "n": f"{row.n:,}",
        "mark": mark,
    }


def _prompts(handed: Handed) -> str:
    """Two class prompts of what it was trained on, as Python writes a list."""
    row = catalog.datasets().get(handed.run.source)
    names: Sequence[str] = row.class_names[:2] if row else ()
    prompts = class_prompts(names or ("cat", "dog"), row.template if row and names else catalog.TEMPLATE)
    return "[" + ", ".join(f'"{prompt}"' for prompt in prompts) + "]"


def _cited(handed: Handed) -> list[str]:
    """The paper, who published the method where that is another, and CLIP."""
    row = handed.training.row
    others = [row.source] if row.loss and not set(ARXIV.findall(row.source)) & set(ARXIV.findall(PAPER)) else []
    return list(dict.fromkeys([PAPER, *others, CLIP]))


def _licence(handed: Handed, licence: str) -> str:
    if licence:
        return licence
    row = catalog.datasets().get(handed.run.source)
    data = f" and of {handed.run.source} ({row.licence})" if row and row.licence else ""
    return f"None is stated here. Those of {handed.base or handed.run.model}{data} bear on it."
