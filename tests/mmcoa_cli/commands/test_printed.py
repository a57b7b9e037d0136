"""The commands that plans and reports print: typed again, they mean the same."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.app import program
from mmcoa_cli.attacks.base import every_option
from mmcoa_cli.commands import groups
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_after, evaluation_spec
from mmcoa_cli.jobs.job import Conduct, Job, command_of
from mmcoa_cli.jobs.training_spec import options_of, train_spec
from mmcoa_cli.terminal.choices import kept

UNUSUAL: dict[str, Any] = {
    "norm": "l2", "eps": "0.5", "alpha": "0.1", "steps": 3, "random_start": False, "stop_when_fooled": True,
    "max_candidates": 4, "min_score": 0.25, "max_words_changed": 2, "no_collisions": True, "contrast": "class",
    "image_weight": 1.0, "text_weight": 0.25, "betas": (0.8, 0.9), "momentum": 0.5, "weight_decay": 0.1,
    "schedule": "cosine", "warmup_steps": 5, "border": 20, "prompt_tokens": 5, "n_ctx": 3,
    "offline_eps": "4/255", "offline_steps": 5,
}  # fmt: skip
OF_ATTACKS = {name: value for name, value in UNUSUAL.items() if name in every_option()}
GENERAL = {"seed": 3, "precision": "bf16", "batch_size": 7}


def typed(command: str, kind: type[Any]) -> tuple[Any, dict[str, Any]]:
    """The group of options that a command's words make, and what they are all together."""
    _, verb, *words = shlex.split(command)
    context: Any = program().commands[verb].make_context(verb, words)
    return kind(**{one.name: context.params[one.name] for one in fields(kind)}), context


@pytest.mark.parametrize("method", catalog.methods())
def test_a_training(method: str) -> None:
    row = catalog.methods()[method]
    own = {name: value for name, value in UNUSUAL.items() if name in options_of(row)}
    weights = {"lr": 0.5, "epochs": 3, "optimizer": "sgd", "shots": "5"} if row.loss else {}
    weights |= {"tune": "image"} if row.loss and not row.wrapper else {}
    spec = train_spec(method, dataset="digits", model="vit", **own, **weights, **GENERAL if row.loss else {})
    training, context = typed(command_of(Job(spec)), groups.Training)
    assert context.params["no_evaluate"]
    assert training.runs(context, tested=False) == [spec]


@pytest.mark.parametrize("method", catalog.methods())
def test_a_training_with_its_test(method: str) -> None:
    spec = train_spec(method, dataset="digits", model="vit", mlm="other", eps="2/255", seed=3)
    training, context = typed(command_of(Job(spec, evaluation_after(spec))), groups.Training)
    assert not context.params["no_evaluate"]
    assert training.runs(context, tested=True) == [spec]


@pytest.mark.parametrize("attacks", [("clean",), ("image",), ("text", "clean"), ("multimodal",)])
def test_a_test(attacks: tuple[str, ...]) -> None:
    spec = evaluation_spec(
        "run", ("digits", "cifar10"), attacks, limit=9, pixel_size=8, compat="release", **OF_ATTACKS, **GENERAL
    )
    test, context = typed(command_of(Job(evaluate=spec)), groups.Test)
    names = (context.params[name] for name in ("checkpoint", "dataset", "attack"))
    (checkpoint,), datasets, asked = names
    again: EvaluationSpec = evaluation_spec(checkpoint, datasets, asked, **test.chosen(context, asked, by="x"))
    assert again == spec


@pytest.mark.parametrize(("keep", "word"), [(None, "all"), (1, "last"), (3, "3")])
def test_epochs_that_are_kept(keep: int | None, word: str) -> None:
    _, context = typed(command_of(Job(train_spec("tecoa", dataset="digits"), keep=keep)), groups.Training)
    assert context.params["keep"] == word and kept(word) == keep


def test_a_training_that_is_watched_and_its_small_test() -> None:
    spec, conduct = train_spec("tecoa", dataset="digits"), Conduct(16, "wandb", 2)
    command = command_of(Job(spec, evaluation_after(spec, limit=50, steps=7), conduct=conduct))
    size, context = typed(command, groups.TestAfter)
    assert size.size() == {"limit": 50, "steps": 7}
    assert groups.Conduct(**{f.name: context.params[f.name] for f in fields(groups.Conduct)}).chosen() == conduct
    training, _ = typed(command, groups.Training)
    assert training.runs(context, tested=True) == [spec]


def test_an_epoch_that_is_tested() -> None:
    spec = evaluation_spec("run", ("digits",), epoch=3)
    _, context = typed(command_of(Job(evaluate=spec)), groups.Test)
    assert context.params["epochs"] == (3,)
