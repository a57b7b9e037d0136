"""Evaluations: what is stored, when it may be used again, and that it says what a person would compute by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmcoa_cli.attacks.image import IMAGE
from mmcoa_cli.attacks.pgd import pgd
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.datasets.library import attacked_at, open_dataset
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import Trial, trials_of
from mmcoa_cli.models.load import load_mlm, load_model, load_subject
from mmcoa_cli.settings import Home
from mmcoa_cli.tasks.classification import FOOLED, HELD, TIED, WRONG_BEFORE
from store.checkpoints import load_tensors, save_checkpoint
from store.dataset_writing import DatasetWriter
from store.errors import UserError
from store.example_reading import damage
from store.examples import ExampleSet
from store.index import Index
from store.keys import key_of
from store.schema import Result

from .conftest import evaluated

SPEC = evaluation_spec(
    "vit", ("digits",), mlm="mlm", eps="16/255", alpha="4/255", steps=4, limit=60, batch_size=25
)  # 25, 25 and 10 images
ATTACKS = ("clean", "image", "text", "multimodal")


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


class Evaluated:
    """A store in which `spec` was evaluated, with what an evaluation loads; `rows` are the accuracies by attack."""

    def __init__(self, home: Home, spec: EvaluationSpec, accelerator: Accelerator) -> None:
        self.home, self.spec = home, spec
        ids = evaluated(spec, home, accelerator)
        index = Index(home.database_url)
        self.results = {id: index.evaluation(id) for id in ids}
        self.rows = {row.attack: row for rows in self.results.values() for row in rows if "accuracy" in row.metric}
        (self.trial,) = trials_of(spec, find_subject(spec, home), home)
        self.clip, self.texts = load_subject(self.trial.subject.run, home), self.trial.texts

    def detail(self, attack: str, metric: str) -> Result | None:
        found = [row for rows in self.results.values() for row in rows if (row.attack, row.metric) == (attack, metric)]
        return found[0] if found else None

    def examples(self, attack: str) -> ExampleSet:
        return self.trial.examples(attack)

    @cached_property
    def pixels(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return load_pixels(self.trial.dataset, "test", self.trial.indices)


@pytest.fixture(scope="module")
def tested(
    furnish: Callable[[Path], Home], accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """Evaluated once for the tests that leave it as it is."""
    return Evaluated(furnish(tmp_path_factory.mktemp("tested") / "home"), SPEC, accelerator)


@pytest.fixture
def own(home: Home, accelerator: Accelerator) -> Evaluated:
    """The same, for one test to do with as it likes."""
    return Evaluated(home, SPEC, accelerator)


@pytest.fixture
def trial(home: Home) -> Trial:
    """What would be evaluated."""
    (found,) = trials_of(SPEC, find_subject(SPEC, home), home)
    return found


def files(home: Home) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in home.examples.glob("*.h5")}


BLOCKS = (slice(0, 25), slice(25, 50), slice(50, 60))


def by_block(tested: Evaluated, images: Tensor, prompts: list[str]) -> Tensor:
    """The logits (60, 10), computed in the blocks of the evaluation. Classes with the same adversarial prompt tie: each
    has the logits of the first of them."""
    clip = tested.clip
    with torch.no_grad():
        text_features = clip.embed_texts(prompts).T
        logits = torch.cat([clip.scale * clip.encode_images(images[block]) @ text_features for block in BLOCKS])
    return logits[:, [prompts.index(prompt) for prompt in prompts]]


def test_the_index_has_what_a_person_counts_in_the_examples(tested: Evaluated) -> None:
    """Every number again, from the example files and the model alone."""
    clip, trial = tested.clip, tested.trial
    clean_images = to_unit(tested.pixels, clip.device)
    adv_images = torch.from_numpy(tested.examples("image").images(0, 60, tested.pixels))
    adv_prompts = tested.examples("text").texts("adversarial_prompts")
    assert len(adv_prompts) == 10 and adv_prompts != trial.texts
    shown = {
        "clean": (clean_images, trial.texts), "image": (adv_images, trial.texts),
        "text": (clean_images, adv_prompts), "multimodal": (adv_images, adv_prompts),
    }  # fmt: skip
    clean = tested.examples("clean").columns("prediction")
    for attack in ATTACKS:
        images, prompts = shown[attack]
        logits = by_block(tested, images, prompts)
        predictions = logits.argmax(dim=1).numpy()
        tied = [{k for k, logit in enumerate(row) if logit == max(row)} for row in logits.tolist()]
        shares = [(label in classes) / len(classes) for label, classes in zip(trial.labels, tied, strict=True)]
        examples, row = tested.examples(attack), tested.rows[attack]
        assert examples.columns("prediction").tolist() == predictions.tolist()
        assert examples.columns("credit").tolist() == shares
        assert row.value == pytest.approx(np.mean(shares), abs=1e-12)
        assert row.n == 60
        before = (clean == trial.labels).tolist()
        outcome = [
            (HELD if share == 1 else FOOLED if share == 0 else TIED) if was else WRONG_BEFORE
            for was, share in zip(before, shares, strict=True)
        ]
        assert examples.columns("outcome").tolist() == outcome
        turned = sum(1 - share for was, share in zip(before, shares, strict=True) if was)
        success, different = tested.detail(attack, "attack_success_rate"), tested.detail(attack, "distinct_prompts")
        assert (success is None) == (attack == "clean")
        if success:
            assert (success.value, success.n) == (pytest.approx(turned / sum(before)), sum(before))
        assert (different is None) == (attack in ("clean", "image"))
        if different:
            assert (different.value, different.n) == (pytest.approx(len(set(prompts)) / 10), 10)
    assert tested.rows["image"].value < tested.rows["clean"].value - 0.1  # or all this would say little


def test_what_is_read_back_is_what_was_attacked(tested: Evaluated) -> None:
    trial, attack = tested.trial, tested.spec.settings(IMAGE)
    images = to_unit(tested.pixels, tested.clip.device)
    read = tested.examples("image").images(0, 60, tested.pixels)
    text_features, scale = tested.clip.embed_texts(trial.texts), tested.clip.scale.detach()
    for block in BLOCKS:
        start = random_start(attack, images[block], indices=trial.indices[block].tolist(), seed=0)
        adv_images = pgd(
            lambda x: scale * tested.clip.encode_images(x) @ text_features.T,
            images[block],
            torch.from_numpy(trial.labels[block]),
            settings=attack,
            start=start,
        )
        assert np.array_equal(read[block].view(np.uint32), adv_images.numpy().view(np.uint32))
    assert 0 < np.abs(read - images.numpy()).max() <= 16 / 255 + 1e-6


@pytest.mark.parametrize(
    "changes", [{"eps": "0.5/255", "alpha": "0.25/255"}, {"norm": "l2", "eps": "1", "alpha": "0.5"}]
)
def test_examples_off_the_grid_are_read_back_too(home: Home, accelerator: Accelerator, changes: dict[str, str]) -> None:
    tested = Evaluated(home, SPEC.changed(attacks=("image",), **changes), accelerator)
    images = torch.from_numpy(tested.examples("image").images(0, 60, tested.pixels))
    predictions = by_block(tested, images, tested.trial.texts).argmax(dim=1)
    assert tested.examples("image").columns("prediction").tolist() == predictions.tolist()
    assert (images * 255 - (images * 255).round()).abs().max() > 0.1


def test_the_subset_is_balanced_and_drawn_by_seed(home: Home, accelerator: Accelerator) -> None:
    labels = open_dataset("digits", home).labels("test")
    drawn = []
    for seed in (0, 1):
        tested = Evaluated(home, SPEC.changed(attacks=("clean",), seed=seed), accelerator)
        drawn.append(tested.examples("clean").columns("index"))
        assert np.bincount(labels[drawn[-1]]).tolist() == [6] * 10
        assert tested.examples("clean").columns("label").tolist() == labels[drawn[-1]].tolist()
        assert (tested.rows["clean"].setting["limit"], tested.rows["clean"].seed) == (60, seed)
    assert drawn[0].tolist() != drawn[1].tolist()


def test_a_limit_beyond_the_dataset_is_none(home: Home, accelerator: Accelerator) -> None:
    (limited,) = evaluated(SPEC.changed(attacks=("clean",), limit=10_000), home, accelerator)
    (full,) = evaluated(SPEC.changed(attacks=("clean",), limit=None), home, accelerator)
    assert limited == full
    (row,) = Index(home.database_url).evaluation(full)
    assert row.setting["limit"] is None and row.n == len(open_dataset("digits", home).labels("test"))


def test_clean_examples_without_probabilities_serve_an_attack(home: Home, accelerator: Accelerator) -> None:
    """As an older version made them: the attack's own probabilities are there, and those before it are not."""
    spec = SPEC.changed(attacks=("image",), steps=1, limit=10)
    evaluated(spec.changed(attacks=("clean",)), home, accelerator)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    clean = trial.examples("clean")
    names = ("index", "label", "prediction", "credit", "clean_prediction", "clean_credit", "outcome")
    columns, texts = {name: clean.columns(name) for name in names}, {"prompts": clean.texts("prompts")}
    assert clean.holds("prediction_probability")
    clean.path.unlink()
    older = ExampleSet(home.examples, clean.spec, n=10, block_size=10)
    older.missing()
    older.write_block(0, columns)
    older.finish(texts=texts)
    evaluated(spec, home, accelerator)
    examples = trial.examples("image")
    assert examples.holds("prediction_probability") and not examples.holds("clean_prediction_probability")
    assert trial.task.sure(examples.values, 0) is None and examples.columns("clean_credit").tolist() == list(
        columns["credit"]
    )


def test_nothing_is_done_twice(tested: Evaluated, accelerator: Accelerator) -> None:
    before, rows = files(tested.home), Index(tested.home.database_url).results()
    assert len(before) == len({row.evaluation for _, row in rows}) == 4
    assert evaluated(SPEC, tested.home, accelerator) == list(tested.results)
    assert files(tested.home) == before
    assert Index(tested.home.database_url).results() == rows
    assert not list(tested.home.examples.glob("*.parts"))


def test_multimodal_takes_the_images_of_image(home: Home, accelerator: Accelerator) -> None:
    Evaluated(home, SPEC.changed(attacks=("image",)), accelerator)
    before = files(home)
    tested = Evaluated(home, SPEC.changed(attacks=("multimodal",)), accelerator)
    assert len(before) == 2  # clean and image
    assert before.items() <= files(home).items()
    assert len(files(home)) == 4  # text and multimodal are new
    assert tested.examples("multimodal").path.stat().st_size < tested.examples("image").path.stat().st_size / 2


KEYS: dict[str, tuple[set[str], dict[str, Any]]] = {  # the attacks whose examples change with an option
    "eps": ({"image", "multimodal"}, {"eps": "15/255"}),
    "alpha": ({"image", "multimodal"}, {"alpha": "3/255"}),
    "steps": ({"image", "multimodal"}, {"steps": 5}),
    "norm": ({"image", "multimodal"}, {"norm": "l2"}),
    "stop": ({"image", "multimodal"}, {"stop_when_fooled": True}),
    "compat": ({"text", "multimodal"}, {"compat": "release"}),
    "no collisions": ({"text", "multimodal"}, {"no_collisions": True}),
    "seed": (set(ATTACKS), {"seed": 1}),
    "limit": (set(ATTACKS), {"limit": 50}),
    "precision": (set(ATTACKS), {"precision": "bf16"}),
    "batch size": (set(), {"batch_size": 7}),
}


def keys(trial: Trial) -> dict[str, str]:
    return {attack: key_of(trial.identity(attack)) for attack in ATTACKS}


@pytest.mark.parametrize("option", KEYS)
def test_a_key_changes_with_what_decides_the_examples_and_nothing_else(trial: Trial, option: str) -> None:
    expected, changes = KEYS[option]
    before, after = keys(trial), keys(replace(trial, spec=SPEC.changed(**changes)))
    assert {attack for attack in ATTACKS if before[attack] != after[attack]} == expected


def test_the_seed_of_a_whole_dataset_decides_only_the_random_start(trial: Trial) -> None:
    one, two = (replace(trial, spec=SPEC.changed(limit=None, seed=seed)) for seed in (0, 1))
    assert {attack for attack in ATTACKS if keys(one)[attack] != keys(two)[attack]} == {"image", "multimodal"}


def test_other_weights_under_the_same_name_are_not_served_the_old_results(
    own: Evaluated, accelerator: Accelerator
) -> None:
    folder = own.home.clips / "vit"
    tensors = load_tensors(folder)
    named = {name: (folder / name).read_text(encoding="utf8") for name in ("open_clip_config.json", "source.json")}
    save_checkpoint(folder, tensors={**tensors, "visual.proj": -tensors["visual.proj"]}, spec={}, files=named)
    again = Evaluated(own.home, SPEC, accelerator)
    for attack in ATTACKS:
        assert again.rows[attack].examples != own.rows[attack].examples
    assert again.rows["clean"].value != own.rows["clean"].value
    assert len({row.evaluation for _, row in Index(own.home.database_url).results()}) == 8


def test_another_preprocessing_or_precision_of_the_weights_is_another_model(trial: Trial) -> None:
    folder = trial.home.clips / "vit"
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf8"))
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (folder / "open_clip_config.json").unlink()  # it is a link to that of other tests
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf8")
    with pytest.raises(UserError, match="was altered"):
        load_model("vit", trial.home)
    (folder / "source.json").unlink()  # a model that somebody put there
    assert load_model("vit", trial.home).digest() != trial.subject.weights


@pytest.mark.parametrize("changes", [{"name": "zer0"}, {"template": "a {}"}, {"pixel": 255}])
def test_another_prompt_or_pixel_is_other_data(trial: Trial, changes: dict[str, Any]) -> None:
    info = trial.dataset.info
    path = trial.home.root / "other.h5"
    with DatasetWriter(
        path,
        name=info.name,
        class_names=(changes.get("name", info.class_names[0]), *info.class_names[1:]),
        pixel_size=info.pixel_size,
        resize=info.resize,
        template=changes.get("template", info.template),
        source=info.source,
        licence=info.licence,
        synonyms=info.synonyms,
        image_size=info.image_size,
    ) as writer:
        for split in info.splits:
            labels = trial.dataset.labels(split)
            for i, image in enumerate(trial.dataset.images(split, range(len(labels)))):
                image = image.copy()
                if i == 0 and "pixel" in changes:
                    image[0, 0, 0] = changes["pixel"]
                writer.add(split, image, int(labels[i]))
    other = replace(trial, dataset=type(trial.dataset).open(path))
    before, after = keys(trial), keys(other)
    assert all(before[attack] != after[attack] for attack in ATTACKS)


def test_another_masked_lm_changes_the_text_attacks(trial: Trial) -> None:
    weights = shutil.copytree(trial.home.mlms / "mlm", trial.home.mlms / "other") / "model.safetensors"
    tensors = load_file(weights)
    tensors[min(tensors)] += 1e-3
    save_file(tensors, weights, metadata={"format": "pt"})
    subject = find_subject(SPEC.changed(mlm="other"), trial.home)
    before, after = keys(trial), keys(replace(trial, subject=subject))
    assert {attack for attack in ATTACKS if before[attack] != after[attack]} == {"text", "multimodal"}


def test_another_batch_size_gives_the_stored_result(tested: Evaluated, accelerator: Accelerator) -> None:
    again = Evaluated(tested.home, SPEC.changed(batch_size=60), accelerator)
    assert again.results == tested.results
    assert {row.setting["batch_size"] for row in again.rows.values()} == {25}


def test_a_damaged_example_file_is_made_again(own: Evaluated, accelerator: Accelerator) -> None:
    path, checksum = own.examples("image").path, own.examples("image").checksum
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = Evaluated(own.home, SPEC, accelerator)
    assert again.examples("image").checksum == checksum
    assert again.rows == own.rows


def test_what_the_rows_say_of_the_attack(tested: Evaluated) -> None:
    rows = tested.rows
    assert {attack: row.metric for attack, row in rows.items()} == {
        "clean": "clean_accuracy", "image": "robust_accuracy", "text": "robust_accuracy",
        "multimodal": "robust_accuracy",
    }  # fmt: skip
    for attack, row in rows.items():
        image, text = attack in ("image", "multimodal"), attack in ("text", "multimodal")
        assert set(row.threat) == {*(["image"] if image else []), *(["text"] if text else [])}
        for part, said in row.threat.items():
            in_file = tested.examples(attack).spec[part]
            assert {name: said[name] for name in in_file} == in_file
        if image:
            assert [row.threat["image"][name] for name in ("norm", "eps", "alpha", "steps")] == [
                "linf", "16/255", "4/255", 4,
            ]  # fmt: skip
        if text:
            assert (row.threat["text"]["mlm_name"], row.threat["text"]["mlm_origin"]) == ("mlm", "own")
        assert (row.run_id, row.device, row.setting["batch_size"]) == ("clip-vit", "cpu", 25)
        assert (row.examples, row.weights) == (tested.examples(attack).key, tested.trial.subject.weights)


def test_prompts_stay_in_the_example_set(tested: Evaluated) -> None:
    examples, collisions = tested.examples("text"), tested.detail("text", "collisions")
    assert examples.texts("prompts") == tested.texts != examples.texts("adversarial_prompts")
    assert collisions is not None and round(collisions.value * collisions.n) == examples.notes["collisions"]
    said = json.dumps([asdict(row) for row in tested.results[tested.rows["text"].evaluation]])
    assert not any(prompt in said for prompt in examples.texts("prompts"))


def test_a_resnet_is_evaluated_without_moving_its_statistics(home: Home, accelerator: Accelerator) -> None:
    tested = Evaluated(home, SPEC.changed(checkpoint="resnet", limit=20), accelerator)
    before = load_tensors(home.clips / "resnet")
    assert all(torch.equal(before[name], tensor) for name, tensor in tested.clip.tensors().items())


@pytest.mark.parametrize("changes", [{"checkpoint": "x"}, {"datasets": ("digits", "x")}, {"mlm": "x"}])
def test_names_that_are_not_there(home: Home, accelerator: Accelerator, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError) as raised:
        evaluated(SPEC.changed(**changes), home, accelerator)
    assert raised.value.hint
    assert Index(home.database_url).results() == []


def test_the_masked_lm_is_not_needed_without_a_text_attack(home: Home, accelerator: Accelerator) -> None:
    spec = SPEC.changed(attacks=("clean", "image"), mlm="x")
    assert list(Evaluated(home, spec, accelerator).rows) == ["clean", "image"]


@pytest.mark.slow
def test_two_evaluations_of_the_same_at_once(
    home: Home, new_home: Callable[[str], Home], typed: Callable[..., Any]
) -> None:
    words = [
        *("evaluate", "--checkpoint", "vit", "--dataset", "digits", "--mlm", "mlm", "--eps", "16/255"),
        *("--alpha", "4/255", "--steps", "4", "--batch-size", "10", "--limit", "200", "--json"),
    ]
    alone = Evaluated(new_home("alone"), SPEC.changed(limit=200, batch_size=10), Accelerator(cpu=True))
    both = [typed(home, *words) for _ in range(2)]
    ended = [process.end() for process in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    one, other = (json.loads(out) for _, out, _ in ended)
    for row in (*one["rows"], *other["rows"]):
        del row["seconds"], row["created_at"]  # of whoever wrote it last
    del one["took"], other["took"]
    assert one == other
    assert {row["attack"]: row["value"] for row in one["rows"]} == {a: row.value for a, row in alone.rows.items()}
    rows = [row for _, row in Index(home.database_url).results() if "accuracy" in row.metric]
    assert sorted(row.attack for row in rows) == sorted(ATTACKS)
    spec = SPEC.changed(limit=200, batch_size=10)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    for row in rows:
        found = trial.examples(row.attack)
        assert row.examples == found.key
        assert damage(found.path) is None and found.checksum == alone.examples(row.attack).checksum
    assert not list(home.examples.glob("*.parts"))


def test_the_specification_is_in_the_file(tested: Evaluated) -> None:
    spec = tested.examples("multimodal").spec
    assert spec["image"] == {"version": spec["image"]["version"], "seed": 0, **asdict(SPEC.settings(IMAGE))}
    assert spec["weights"] == tested.trial.subject.weights
    assert spec["text"]["mlm"] == load_mlm("mlm", tested.home).digest()


def test_images_can_be_attacked_at_another_size(home: Home, accelerator: Accelerator) -> None:
    """Resized and cropped before the attack; by Pillow alone the same pixels, another key; the row says the size."""
    own, larger = (Evaluated(home, SPEC.changed(pixel_size=size), accelerator) for size in (None, 28))
    assert {row.attack: row.setting["pixel_size"] for row in larger.rows.values()} == {attack: 28 for attack in ATTACKS}
    assert not {row.examples for row in own.rows.values()} & {row.examples for row in larger.rows.values()}
    with open_dataset("digits", home) as dataset:
        (first,) = dataset.images("test", [0])
    by_hand = Image.fromarray(first).resize((32, 32), Image.Resampling.BILINEAR).crop((2, 2, 30, 30))
    larger_set = attacked_at(open_dataset("digits", home), 28)
    assert np.array_equal(load_pixels(larger_set, "test", [0])[0], np.asarray(by_hand))


def test_a_part_of_a_dataset_is_told_with_every_result(home: Home, accelerator: Accelerator) -> None:
    with open_dataset("digits", home) as dataset:
        images, labels = dataset.images("test", range(200)), dataset.labels("test")[:200].tolist()
        names, expected = dataset.info.class_names, dataset.info.splits
    part = DatasetWriter(
        home.datasets / "part.h5", name="part", class_names=names, pixel_size=8, resize=None,
        template="This is a photo of a {}", source="", image_size=8, expected=expected,
    )  # fmt: skip
    with part as writer:
        for image, label in zip(images, labels, strict=True):
            writer.add("test", image, label)
    tested = Evaluated(home, SPEC.changed(datasets=("part",), attacks=ATTACKS), accelerator)
    said = f"200 of 500 test images, {len(set(labels))} of 10 classes"
    told = [(row.setting["partial"], row.setting["part"], row.n) for row in tested.rows.values()]
    assert told == [(True, said, 60)] * 4
    assert len(tested.examples("text").texts("adversarial_prompts")) == 10  # all class prompts stay
    whole = Evaluated(home, SPEC, accelerator).rows["clean"].setting
    assert (whole["partial"], whole["part"]) == (False, "")
