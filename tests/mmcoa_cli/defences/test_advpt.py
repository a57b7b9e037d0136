"""AdvPT: its loss by hand, its images made once and found again, and that it learns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmcoa_cli.attacks.embedding import EmbeddingSettings
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.datasets.sampling import few_shot
from mmcoa_cli.defences import loss_of
from mmcoa_cli.defences.batch import Batch
from mmcoa_cli.defences.step import Attacks, Original, Step
from mmcoa_cli.jobs.evaluation import evaluate
from mmcoa_cli.jobs.evaluation_spec import evaluation_after, evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import stored_spec, train_spec
from mmcoa_cli.jobs.training_steps import original_of
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.runs import run_of, template_of
from mmcoa_cli.models.victim import wrap
from mmcoa_cli.models.wrappers import ContextSettings
from mmcoa_cli.settings import Home
from store.checkpoints import load_spec, load_tensors
from store.errors import UserError
from store.example_reading import stored_texts
from store.index import Index

LABELS = torch.tensor([0, 2, 1, 2])
NUMBERS = np.array([7, 3, 11, 5])


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def trained(home: Home, accelerator: Accelerator) -> Callable[..., Any]:
    """A run around `vit` on five images a class of digits."""

    def learn(**options: Any) -> Any:
        usual = {"dataset": "digits", "shots": "5", "model": "vit", "epochs": 3, "batch_size": 25}
        return train(train_spec("advpt", **{**usual, **options}), home, accelerator)

    return learn


@pytest.mark.parametrize("clip", ["vit"], indirect=True)
def test_the_loss_is_the_mean_cross_entropy_of_cosines_by_hand(clip: Clip) -> None:
    victim = wrap("context", clip, ContextSettings(4), base="vit")
    victim.draw(1)
    cached = 3 * torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    prompts = ["cat.", "dog.", "ship."]

    def attacked(asked: object, images: np.ndarray[Any, Any]) -> torch.Tensor:
        assert asked is clip and images.tolist() == NUMBERS.tolist()
        return cached

    def unread() -> torch.Tensor:
        raise AssertionError("no image is read")

    step = Step(
        victim, victim, Batch(LABELS, LABELS, [4], NUMBERS), images=unread, indices=NUMBERS.tolist(),
        class_prompts=prompts, attacks=Attacks(), original=Original(lambda: clip, prompts, attacked),
        backward=lambda loss: loss.backward(), seed=0, epoch=1,
    )  # fmt: skip
    loss = loss_of("advpt")(step)
    texts, tau = victim.embed_texts(prompts).tolist(), float(clip.scale.detach())
    expected = 0.0
    for features, label in zip(cached.tolist(), LABELS.tolist(), strict=True):
        length = math.sqrt(math.fsum(v * v for v in features))
        logits = [tau * math.fsum(a * b for a, b in zip(features, text, strict=True)) / length for text in texts]
        expected += (math.log(math.fsum(map(math.exp, logits))) - logits[label]) / 4
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    moved = {name for name, weight in victim.named_parameters() if weight.grad is not None}
    assert moved == {"context"}


def test_without_images_that_were_attacked_it_is_an_error_in_words(clip: Clip) -> None:
    with pytest.raises(UserError, match="the loss uses the offline attack, which its row") as raised:
        Original(lambda: clip, ["cat."]).adv_features(NUMBERS)
    assert raised.value.hint == "offline = NAME in the row of the method"


def test_its_images_are_those_of_the_attack_on_the_training_split(home: Home, accelerator: Accelerator) -> None:
    """What is cached is inside the ball around each image, and moves its embedding further than noise does."""
    plan = make_plan(train_spec("advpt", dataset="digits", shots="2", model="vit"), home)
    original = original_of(plan, home, accelerator)
    numbers = plan.indices[[3, 0, 11]]
    found = original.adv_features(numbers)
    (path,) = [path for path in home.examples.glob("*.h5") if b"embedding" in path.read_bytes()]
    dataset, clip = open_dataset("digits", home), original.victim
    drawn = few_shot(dataset.labels("train"), "2", seed=0)
    assert drawn.tolist() == plan.indices.tolist()
    pixels = load_pixels(dataset, "train", numbers)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    clean = clip.image_features(x).detach()
    noisy = clip.image_features(
        (x + 8 / 255 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    )
    assert ((found - clean).norm(dim=1) > 1.5 * (noisy - clean).norm(dim=1)).all()
    assert stored_texts(path)["prompts"] == plan_prompts(dataset)
    assert torch.equal(original.adv_features(plan.indices)[[3, 0, 11]], found)


def plan_prompts(dataset: Any) -> list[str]:
    """Those that the model itself is asked with."""
    return [dataset.info.template.replace("{}", name) for name in dataset.info.class_names]


def test_another_prompt_finds_the_images_and_another_radius_makes_its_own(
    home: Home, trained: Callable[..., Any]
) -> None:
    first = trained()
    sets = {path.name: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")}
    assert len(sets) == 2  # clean and attacked
    runs = {first.id, trained(n_ctx=3).id, trained(lr=0.1).id, trained(epochs=4).id}
    assert {path.name: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")} == sets
    runs.add(trained(offline_eps="4/255").id)
    runs.add(trained(seed=1).id)
    assert len(runs) == 6
    assert len(list(home.examples.glob("*.h5"))) == 5  # the clean ones of seed 0 are there


def test_training_moves_the_context_alone_and_lowers_the_loss(home: Home, trained: Callable[..., Any]) -> None:
    run = trained(lr=5e-4, epochs=12)
    epochs = epochs_in(home.checkpoints / run.id)
    losses = [load_spec(epoch)["loss"] for epoch in epochs]
    assert losses[-1] < 0.9 * losses[0], losses
    (context,) = load_tensors(epochs[-1]).values()
    assert context.shape == (8, 16)  # half of the 16 tokens that it reads
    victim = load_subject(run_of(run.id, home, Index(home.database_url)), home)
    before = load_tensors(home.clips / "vit")
    assert victim.digest() == run.weights
    assert all(tensor.equal(before[name]) for name, tensor in victim.clip.tensors().items())


def test_it_is_tested_with_its_own_prompts_and_attacked_through_them(
    home: Home, trained: Callable[..., Any], accelerator: Accelerator
) -> None:
    run, index = trained(lr=0.2), Index(home.database_url)
    assert template_of(run, home) == "{}."
    names = ("clean", "image", "embedding", "text")
    options = {"limit": 50, "mlm": "mlm", "eps": "8/255", "steps": 3}
    found = {}
    for checkpoint in (run.id, "vit"):
        spec = evaluation_spec(checkpoint, ("digits",), names, **options)
        ids = evaluate([spec], find_subject(spec, home), home, accelerator)
        found[checkpoint] = {result.attack: result for _, result in index.results(evaluations=ids)}
    own = {name: home.examples / f"{result.examples}.h5" for name, result in found[run.id].items()}
    texts = stored_texts(own["text"])
    assert all(prompt.endswith(".") and " " not in prompt for prompt in texts["prompts"])
    assert len({result.setting["data"] for results in found.values() for result in results.values()}) == 1
    # in the embedding's attack its prompts take no part, in the image's they do
    dataset, pixels = open_dataset("digits", home), {}
    for checkpoint in (run.id, "vit"):
        spec = evaluation_spec(checkpoint, ("digits",), names, **options)
        (trial,) = trials_of(spec, find_subject(spec, home), home)
        clean = load_pixels(dataset, "test", trial.indices)
        pixels[checkpoint] = {name: trial.examples(name).images(0, 50, clean) for name in ("image", "embedding")}
    assert np.array_equal(pixels[run.id]["embedding"], pixels["vit"]["embedding"])
    assert not np.array_equal(pixels[run.id]["image"], pixels["vit"]["image"])


def test_the_radius_of_its_images_is_not_that_of_its_test() -> None:
    spec = train_spec("advpt", dataset="digits", model="vit")
    assert spec.settings.offline_attack == EmbeddingSettings(eps="8/255", alpha="1/255", steps=10)
    assert stored_spec("advpt", json.dumps(spec.document())) == spec
    assert evaluation_after(spec).options == {}
    assert evaluation_after(train_spec("advpt", eps="2/255")).options == {"eps": "2/255"}
    assert train_spec("advpt", offline_eps="16/510").options == {}
    assert train_spec("advpt", offline_eps="8/510").settings.offline_eps == "4/255"


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"offline_eps": "3"}, "-o offline_eps=3 is the whole range of a pixel", "-o offline_eps=3/255"),
        (
            {"offline_steps": 2 * 10**6},
            "-o offline_steps=2000000 is too large",
            "-o offline_steps takes at most 1,000,000",
        ),
    ],
)
def test_errors_name_its_own_options(options: dict[str, Any], error: str, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        train_spec("advpt", **options)
    assert (str(raised.value), raised.value.hint) == (error, hint)


def test_its_row_is_as_published() -> None:
    spec = train_spec("advpt", dataset="digits")
    row = spec.optimization
    assert (row.name, row.lr, row.momentum, row.decay) == ("sgd", 0.002, 0.9, 5e-4)
    assert (row.schedule, row.held_epochs, row.held_lr, spec.epochs) == ("cosine", 1, 1e-5, 200)
