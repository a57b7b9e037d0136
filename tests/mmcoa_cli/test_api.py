"""mmcoa from Python: what it makes is what the command line makes, for runs and for any model of open_clip."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from entered import entered
from PIL import Image
from torch import Tensor

import mmcoa_cli as mmcoa
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.examples import ExampleSet
from store.index import Index

from .conftest import VIT

OPTIONS: dict[str, Any] = {"eps": "8/255", "alpha": "4/255", "steps": 2, "mlm": "mlm", "batch_size": 16}


def stored(spec: EvaluationSpec, home: Home) -> tuple[Tensor, Tensor, list[str], ExampleSet, list[int]]:
    """What the command line tests on, and what it stored: clean images, labels, class names, examples, numbers."""
    launch.run(Job(evaluate=spec))
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    pixels = trial.pixels(range(len(trial.indices)))
    images = trial.as_attacked(pixels, torch.device("cpu"))
    labels = torch.from_numpy(np.asarray(trial.labels))
    return images, labels, [*trial.dataset.info.class_names], trial.examples(spec.attacks[0]), trial.indices.tolist()


def train(method: str, **options: Any) -> str:
    usual = {"dataset": "digits", "shots": "2", "model": "vit", "epochs": 2, "batch_size": 10, "steps": 1}
    return launch.run(Job(train_spec(method, **usual, **options), keep=None)).run


@pytest.mark.parametrize("attack", ["clean", "image", "text", "multimodal", "co-attack", "autoattack", "embedding"])
@pytest.mark.parametrize("model", ["vit", "resnet"])
def test_an_attack_is_the_command_lines_bit_for_bit(home: Home, model: str, attack: str) -> None:
    spec = evaluation_spec(model, ("digits",), (attack,), limit=40, **OPTIONS)
    images, labels, names, examples, numbers = stored(spec, home)
    found = mmcoa.attack(mmcoa.load(model), images, labels, names, attack, indices=numbers, **OPTIONS)
    for column, mine in (
        ("prediction", found.predictions), ("clean_prediction", found.clean_predictions), ("credit", found.credit)
    ):  # fmt: skip
        assert (examples.columns(column) == mine.numpy()).all(), column
    assert found.prompts == examples.texts("adversarial_prompts" if attack in TEXTS else "prompts")
    if attack in ("image", "co-attack", "autoattack", "embedding"):
        clean = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        assert (examples.images(0, 40, clean) == found.images.numpy()).all()
        moved = (found.images - images).abs().amax(dim=(1, 2, 3))
        assert moved.max() <= 8 / 255 + 1e-6
        assert (moved > 0).any() or model == "resnet"  # which says one class of all: AutoAttack may find no way
    values = {one.metric: one.value for _, one in Index(home.database_url).results(attacks=[attack])}
    assert found.accuracy == pytest.approx(next(values[name] for name in values if name.endswith("accuracy")))


TEXTS = ("text", "multimodal", "co-attack")


def test_any_model_of_open_clip_is_attacked_and_left_as_it_was(tmp_path: Any) -> None:
    model = new_clip(VIT, name="vit", seed=0).model.train()
    model.visual.ln_post.eval()  # as someone had it
    before = {name: part.training for name, part in model.named_modules()}
    images, labels = torch.rand(6, 3, 20, 20), torch.tensor([0, 1, 2] * 2)
    names, asked = ["cat", "dog", "ship"], {"eps": "4/255", "steps": 3}
    found = mmcoa.attack(model, images, labels, names, template="an image of a {}", **asked)
    assert {name: part.training for name, part in model.named_modules()} == before
    assert found.prompts == ["an image of a cat", "an image of a dog", "an image of a ship"]
    assert 0 < (found.images - images).abs().max() <= 4 / 255 + 1e-6
    # in open_clip's own words, on what it takes: the loss rises, and the prediction is its own
    own = open_clip.SimpleTokenizer(context_length=VIT["text_cfg"]["context_length"])  # type: ignore[index]
    model.eval()
    texts = model.encode_text(own(found.prompts), normalize=True)

    def logits(pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(of).view(3, 1, 1) for of in (model.visual.image_mean, model.visual.image_std))
        size = torch.nn.functional.interpolate(pixels, (16, 16), mode="bicubic", antialias=True, align_corners=False)
        x = model.encode_image((size - mean) / std, normalize=True)
        scaled: Tensor = model.logit_scale.exp() * x @ texts.T
        return scaled

    with torch.no_grad():
        assert logits(found.images).argmax(dim=1).tolist() == found.predictions.tolist()
        assert logits(images).argmax(dim=1).tolist() == found.clean_predictions.tolist()
        rises = [torch.nn.functional.cross_entropy(logits(x), labels) for x in (images, found.images)]
    assert rises[1] > rises[0]
    again = mmcoa.attack(model, images, labels, names, tokenizer=own, template="an image of a {}", **asked)
    assert again.images.equal(found.images)


def test_a_run_is_a_module_as_open_clips_are(home: Home) -> None:
    run = train("ft-standard", lr=1e-2)
    model = mmcoa.load(run[:-3])
    folder = home.checkpoints / run / "epoch-002"
    own, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    image = preprocess(Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)))[None]
    texts = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a zero", "a photo of a one"])
    assert model.tokenizer(["a photo of a zero", "a photo of a one"]).equal(texts)
    assert model.preprocess(Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8))).shape == (3, 8, 8)
    with torch.no_grad():
        for normalize in (False, True):
            torch.testing.assert_close(model.encode_image(image, normalize), own.encode_image(image, normalize))
            torch.testing.assert_close(model.encode_text(texts, normalize), own.encode_text(texts, normalize))
        for mine, theirs in zip(model(image, texts), own(image, texts), strict=True):
            torch.testing.assert_close(mine, theirs)
    assert model.logit_scale.equal(own.logit_scale) and model.run == run
    first = mmcoa.load(run, epoch=1)
    with torch.no_grad():
        assert not first.encode_image(image).equal(model.encode_image(image))


@pytest.mark.parametrize("method", ["vp", "advpt"])
def test_a_prompt_is_computed_through(home: Home, method: str) -> None:
    """Through the border, and with the context in front of the text: as tests of the run have it."""
    run = train(method, lr=1.0) if method == "vp" else launch.run(Job(advpt())).run
    model, plain = mmcoa.load(run), mmcoa.load("vit")
    pixels = torch.rand(3, 3, 8, 8)
    image = (pixels - model.victim.clip.mean) / model.victim.clip.std
    with torch.no_grad():
        found, texts = model.encode_image(image, normalize=True), model.encode_text(model.tokenizer(["cat.", "dog."]))
        torch.testing.assert_close(found, model.victim.encode_images(pixels))
        torch.testing.assert_close(texts, model.victim.embed_texts(["cat.", "dog."]))
        assert torch.allclose(found, plain.encode_image(image, normalize=True), atol=1e-4) == (method == "advpt")
        same = torch.allclose(texts, plain.encode_text(plain.tokenizer(["cat.", "dog."]), normalize=True), atol=1e-4)
    assert same == (method == "vp")


def advpt() -> Any:
    return train_spec("advpt", dataset="digits", shots="2", model="vit", epochs=2, batch_size=10, offline_steps=1)


def test_evaluate_and_results_are_those_of_the_store(home: Home) -> None:
    found = mmcoa.evaluate("vit,resnet", "digits", "clean,image", limit=20, eps="8/255", steps=2)
    assert isinstance(found, pd.DataFrame)
    assert found[["model", "attack", "n"]].values.tolist() == [
        ["vit", "clean", 20], ["vit", "image", 20], ["resnet", "clean", 20], ["resnet", "image", 20]
    ]  # fmt: skip
    made = {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")}
    again = mmcoa.evaluate(["vit", "resnet"], "digits", ("clean", "image"), limit=20, eps="8/255", steps=2)
    assert again.equals(found) and {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")} == made
    assert len(mmcoa.results()) == 4
    (image,) = mmcoa.results(model="vit", attack="image").to_dict("records")
    assert (image["eps"], image["value"]) == ("8/255", found["value"][1])
    assert not len(mmcoa.results(method="tecoa"))


def test_without_pandas_results_are_a_list(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
    (row,) = mmcoa.evaluate("vit", "digits", "clean", limit=10)
    assert (row["model"], row["n"]) == ("vit", 10)
    assert "pip install pandas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"images": torch.rand(2, 3, 8, 9)}, "images of the shape"),
        ({"images": torch.rand(2, 3, 8, 8) * 255}, r"no pixels in \[0, 1\]"),
        ({"images": torch.randint(0, 255, (2, 3, 8, 8))}, r"no pixels in \[0, 1\]"),
        ({"labels": torch.tensor([0, 2])}, "labels that are none of 2 classes"),
        ({"labels": torch.tensor([0])}, "labels of the shape"),
        ({"model": torch.nn.Linear(2, 2)}, "no model of open_clip: it has no encode_image"),
        ({"epsilon": 1}, "no attack has an option 'epsilon'"),
        ({"attack": "imgae"}, "--attack imgae is unknown"),
        ({"attack": "sga"}, "attacks captions, and classification has none"),
        ({"class_names": ["cat", "cat"]}, "the same"),
        ({"limit": 1}, "limit would be ignored"),
        ({"indices": [1]}, "1 indices for 2 images"),
    ],
)
def test_what_cannot_be_attacked_is_told(small_clips: dict[str, Any], changed: dict[str, Any], error: str) -> None:
    usual = {"model": small_clips["vit"].model, "images": torch.rand(2, 3, 8, 8), "labels": torch.tensor([0, 1])}
    with pytest.raises(mmcoa.UserError, match=error) as caught:
        mmcoa.attack(**{**usual, "class_names": ["cat", "dog"], **changed})
    assert any(note.startswith("hint: ") for note in caught.value.__notes__)


def test_a_model_that_says_no_tokenizer_is_asked_for_one(small_clips: dict[str, Any]) -> None:
    model = new_clip(VIT, name="vit", seed=0).model
    model.vocab_size = 32000
    with pytest.raises(mmcoa.UserError, match="which tokenizer it has"):
        mmcoa.attack(model, torch.rand(1, 3, 8, 8), torch.tensor([0]), ["cat", "dog"])
    with pytest.raises(mmcoa.UserError, match=r"weights are torch.float16"):
        mmcoa.attack(model.half(), torch.rand(1, 3, 8, 8), torch.tensor([0]), ["cat", "dog"])


def test_the_names_are_there_and_cost_nothing_until_used() -> None:
    assert {"load", "attack", "evaluate", "results", "Model", "Attacked", "UserError"} <= {*dir(mmcoa)}
    assert not entered("-c", "import mmcoa_cli as mmcoa; mmcoa.__all__").heavy
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        mmcoa.nothing  # type: ignore[attr-defined]  # noqa: B018
