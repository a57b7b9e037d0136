"""Retrieval from end to end: every recall again by hand, from the example files and the model alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmcoa_cli.attacks import lookup
from mmcoa_cli.attacks.bert_attack import divergence
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.jobs.evaluation import evaluate
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec, from_document
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import Trial, trials_of
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.errors import UserError
from store.index import Index

from .conftest import write_pairs

SUCCESS = "attack_success_rate_"
SPEC = evaluation_spec(
    "vit", ("pairs",), ("clean", "image", "text", "multimodal"), task="retrieval", mlm="mlm", eps="16/255", steps=3,
    batch_size=10,
)  # fmt: skip


@pytest.fixture
def pairs(home: Home) -> Home:
    """A store with 24 of the digits, each with one to three captions, some of them the same."""
    write_pairs(home)
    return home


def run(home: Home, spec: EvaluationSpec) -> tuple[Trial, dict[tuple[str, str], Any]]:
    """The trial, and its results by attack and metric."""
    subject = find_subject(spec, home)
    evaluate([spec], subject, home, Accelerator(cpu=True))
    (trial,) = trials_of(spec, subject, home)
    return trial, {(row.attack, row.metric): row for _, row in Index(home.database_url).results()}


def chances(scores: Any, own: list[set[int]], k: int) -> Any:
    """The chance that one of a row's own items is among its first k, whatever the order of what ties (which is at most
    one item of another)."""
    found = []
    for row, mine in zip(scores, own, strict=True):
        best = max(row[i] for i in mine)
        above = sum(score > best + 1e-9 for score in row)
        tied = [i for i, score in enumerate(row) if abs(score - best) <= 1e-9]
        others, places = len([i for i in tied if i not in mine]), max(0, min(k - above, len(tied)))
        missed = 1.0
        for taken in range(places):
            missed *= max(others - taken, 0) / (len(tied) - taken)
        found.append(1 - missed)
    return np.array(found)


def test_the_index_has_what_a_person_ranks(pairs: Home) -> None:
    trial, found = run(pairs, SPEC)
    assert {metric for _, metric in found} == {
        *(f"{name}{way}@{k}" for name in ("", SUCCESS) for way in ("TR", "IR") for k in (1, 5, 10)),
        "captions_cut", "captions_changed",
    }  # fmt: skip
    assert not [metric for attack, metric in found if attack == "clean" and metric.startswith(SUCCESS)]
    victim, pixels = load_subject(trial.subject.run, pairs), load_pixels(trial.dataset, "test", trial.indices)
    owners = [i for i in range(24) for _ in range(1 + i % 3)]
    own_texts = [{j for j, owner in enumerate(owners) if owner == i} for i in range(24)]
    assert trial.texts[3:6] == ["this is a photo of a " + trial.texts[3].split()[-1], *trial.texts[4:6]]
    adversarial = {"clean": trial.texts, "image": trial.texts}
    adversarial |= {name: trial.examples(name).texts("adversarial_prompts") for name in ("text", "multimodal")}
    assert adversarial["text"] == adversarial["multimodal"] != trial.texts
    shown = {"clean": to_unit(pixels, victim.device)}
    shown["image"] = torch.from_numpy(trial.examples("image").images(0, 24, pixels))
    shown |= {"text": shown["clean"], "multimodal": shown["image"]}
    clean: dict[tuple[str, int], Any] = {}
    for attack, images in shown.items():
        texts = adversarial[attack]
        with torch.no_grad():
            features = torch.cat(
                [victim.encode_images(images[at]) for at in (slice(0, 10), slice(10, 20), slice(20, 24))]
            )
            scores = (features.double() @ victim.embed_texts(texts).double().T).numpy()
        for k in (1, 5, 10):
            tr, ir = found[attack, f"TR@{k}"], found[attack, f"IR@{k}"]
            now = {"TR": chances(scores, own_texts, k), "IR": chances(scores.T, [{owner} for owner in owners], k)}
            assert tr.value == pytest.approx(now["TR"].mean(), abs=1e-9)
            assert ir.value == pytest.approx(now["IR"].mean(), abs=1e-9)
            assert (tr.n, ir.n) == (24, 48) and tr.low <= tr.value < tr.high
            clean |= {(way, k): values for way, values in now.items() if attack == "clean"}
            for way, after in now.items() if attack != "clean" else ():
                before, success = clean[way, k], found[attack, f"{SUCCESS}{way}@{k}"]
                assert success.value == pytest.approx((before * (1 - after)).sum() / before.sum(), abs=1e-9)
                assert success.n == round(before.sum()) and success.low <= success.value <= success.high
    changed = sum(old != new for old, new in zip(trial.texts, adversarial["text"], strict=True))
    assert found["text", "captions_changed"].value == changed / 48


def test_the_image_attack_moves_the_embedding(pairs: Home) -> None:
    trial, _ = run(pairs, SPEC.changed(attacks=("clean", "image")))
    pixels = load_pixels(trial.dataset, "test", trial.indices)
    clean, adv = to_unit(pixels, torch.device("cpu")), torch.from_numpy(trial.examples("image").images(0, 24, pixels))
    assert 0 < float((adv - clean).abs().max()) <= 16 / 255 + 1e-6
    before, after = (torch.from_numpy(trial.examples(name).columns("embedding")) for name in ("clean", "image"))
    noise = (clean + torch.empty_like(clean).uniform_(-1, 1) * 16 / 255).clamp(0, 1)
    with torch.no_grad():
        by_chance = load_subject(trial.subject.run, pairs).encode_images(noise)
    assert float(divergence(before, after).mean()) > 2 * float(divergence(before, by_chance).mean())


def test_batch_size_and_resuming_change_nothing(pairs: Home) -> None:
    _, found = run(pairs, SPEC.changed(attacks=("clean",)))
    other = Home(pairs.root.with_name("other"), f"sqlite:///{pairs.root.with_name('other') / 'index.db'}")
    other.root.mkdir()
    for name in ("datasets", "models"):
        (other.root / name).symlink_to(pairs.root / name)
    _, again = run(other, SPEC.changed(attacks=("clean",), batch_size=7))
    assert {key: row.value for key, row in found.items()} == {key: row.value for key, row in again.items()}


def test_a_limit_draws_images_with_all_their_captions(pairs: Home) -> None:
    trial, found = run(pairs, SPEC.changed(attacks=("clean",), limit=9))
    count = sum(1 + int(i) % 3 for i in trial.indices)
    assert (found["clean", "TR@1"].n, found["clean", "IR@1"].n, len(trial.texts)) == (9, count, count)
    assert found["clean", "TR@1"].setting["limit"] == 9


def test_what_decides_retrieval_is_in_its_keys(pairs: Home) -> None:
    (trial,) = trials_of(SPEC, find_subject(SPEC, pairs), pairs)
    identity = trial.identity("clean")
    assert identity["task"] == "retrieval" and identity["captions"]["prepared"] == "pre_caption"
    assert "prompts" not in identity


REFUSED = [
    ({"datasets": ("digits",)}, "digits has classes and no captions"),
    ({"task": "classification"}, "pairs has captions and no classes"),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_a_dataset_of_the_other_kind(changes: dict[str, Any], line: str, pairs: Home) -> None:
    with pytest.raises(UserError, match=line):
        run(pairs, replace(SPEC, options={}, **changes))


@pytest.mark.parametrize("option", ["stop_when_fooled", "no_collisions"])
def test_options_of_classes_mean_nothing(option: str) -> None:
    with pytest.raises(UserError, match=f"no use for {option}"):
        SPEC.changed(**{option: True})


def test_the_published_settings_are_the_defaults() -> None:
    spec = evaluation_spec("vit", ("pairs",), ("image",), task="retrieval")
    assert spec.options == {"eps": "2/255", "steps": 10} and spec.settings(lookup("image")).alpha == "0.25/255"
    assert evaluation_spec("vit", ("pairs",), ("image",)).options == {}
    again = evaluation_spec("vit", ("pairs",), ("image",), task="retrieval", eps="4/255", steps=5)
    assert again.options == {"eps": "4/255", "steps": 5} and again.settings(lookup("image")).alpha == "1/255"
    given = evaluation_spec("vit", ("pairs",), ("image",), task="retrieval", alpha="1/255")
    for one, options in ((spec, {}), (again, {"eps": "4/255", "steps": 5}), (given, {"alpha": "1/255"})):
        assert from_document(asdict(one)) == one and one.changed(seed=1).options == one.options
        typed = one.to_type()
        assert {name: typed[name] for name in ("eps", "alpha", "steps") if name in typed} == options


@pytest.mark.parametrize(
    ("options", "steps", "to_type"),
    [
        ({}, ("0.25/255", "0.5/255"), {}),  # 1.25 eps / steps of Co-Attack; SGA's ImageAttacker has eps 2, step 0.5
        ({"eps": "4/255", "steps": 20}, ("0.25/255", "0.5/255"), {"eps": "4/255", "steps": 20}),
        ({"alpha": "0.25/255"}, ("0.25/255", "0.25/255"), {"alpha": "0.25/255"}),
        ({"alpha": "0.5/255"}, ("0.5/255", "0.5/255"), {"alpha": "0.5/255"}),
    ],
)
def test_each_attack_has_the_step_it_was_published_with(
    options: dict[str, Any], steps: tuple[str, str], to_type: dict[str, Any]
) -> None:
    spec = evaluation_spec("vit", ("pairs",), ("co-attack", "sga"), task="retrieval", **options)
    assert tuple(spec.settings(lookup(name)).alpha for name in spec.attacks) == steps
    assert from_document(asdict(spec)) == spec and spec.changed(seed=1).options == spec.options
    typed = spec.to_type()
    assert {name: typed[name] for name in ("eps", "alpha", "steps") if name in typed} == to_type


def test_a_caption_of_punctuation_alone_is_named(home: Home) -> None:
    with DatasetWriter(
        home.datasets / "pairs.h5", name="pairs", class_names=(), pixel_size=8, resize=None,
        template="", source="test", image_size=8,
    ) as out:  # fmt: skip
        out.add("test", np.zeros((8, 8, 3), np.uint8), captions=["fine"])
        out.add("test", np.zeros((8, 8, 3), np.uint8), captions=["also fine", "?!"])
    with pytest.raises(UserError, match=r"caption '\?!' of image 1"):
        run(home, SPEC.changed(attacks=("clean",)))
