"""Wrappers around a model: attacks and training go through them, and a checkpoint holds their own tensors alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.attacks.base import Classifier
from mmcoa_cli.attacks.pgd import pgd
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.jobs import launch, training_steps
from mmcoa_cli.jobs.continuing import spec_to_go_on_with
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job, command_of_training
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import stored_spec, train_spec
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.current_digests import Present
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.load import load_base, load_subject
from mmcoa_cli.models.runs import run_of, weights_of
from mmcoa_cli.models.victim import Victim, wrap
from mmcoa_cli.models.wrapper_record import checkpoint_digest, read_wrapper_record
from mmcoa_cli.models.wrappers import WRAPPERS
from mmcoa_cli.settings import Home
from mmcoa_cli.tasks.classification import classifier
from store.checkpoints import load_tensors, save_checkpoint
from store.errors import UserError
from store.index import Index

from ..jobs.conftest import evaluated
from .plugins.border import BorderSettings
from .plugins.counter import CounterSettings

PROMPTS = ["a photo of a cat", "a photo of a dog", "a ship"]


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def trained(home: Home, plugins: None, accelerator: Accelerator) -> Callable[..., Any]:
    """A run of the border around `vit` on two images a class of digits."""

    def learn(method: str = "bordered", **options: Any) -> Any:
        usual = {"dataset": "digits", "shots": "2", "model": "vit", "epochs": 2, "batch_size": 8, "eps": "4/255"}
        return train(train_spec(method, **{**usual, "steps": 2, **options}), home, accelerator)

    return learn


def victim_of(run: str, home: Home) -> Victim:
    return load_subject(run_of(run, home, Index(home.database_url)), home)


def bordered(clip: Clip, value: float = 0.1) -> Victim:
    wrapper = wrap("border", clip, BorderSettings(1), base="vit")
    with torch.no_grad():
        wrapper.delta += value
    return wrapper


def replaced(home: Home) -> None:
    """Another model under the name `vit`."""
    folder = home.clips / "vit"
    tensors = load_tensors(folder)
    tensors["visual.proj"] += 1e-2
    files = {name: (folder / name).read_text() for name in ("open_clip_config.json", "source.json")}
    save_checkpoint(folder, tensors=tensors, spec={}, files=files)


@pytest.mark.parametrize("side", [8, 20])
def test_the_gradient_to_the_pixels_goes_through_the_border(clip: Clip, plugins: None, side: int) -> None:
    """Finite differences of a logit, pixel by pixel, against the gradient of the wrapped victim in double precision."""
    victim = bordered(clip)
    victim.double()  # type: ignore[attr-defined]
    images = 0.2 + 0.6 * torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return victim.seen(x).pow(3).sum()  # type: ignore[attr-defined, no-any-return]

    assert torch.autograd.gradcheck(loss, [images.requires_grad_()])


def test_an_attack_climbs_through_the_border(clip: Clip, plugins: None) -> None:
    """The direction of PGD's step is that of finite differences of the wrapped loss, and not that of the bare model."""
    victim, labels = bordered(clip, 0.3), torch.tensor([1, 2])
    images = torch.randint(30, 220, (2, 3, 16, 16), generator=torch.Generator().manual_seed(1)).float() / 255
    settings = PgdSettings(eps="2/255", alpha="2/255", steps=1, random_start=False)

    def attacked(classify: Classifier) -> Tensor:
        start = random_start(settings, images, indices=[0, 1], seed=0)
        return pgd(classify, images, labels, settings=settings, start=start)

    classify = classifier(victim, PROMPTS)

    def loss(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(classify(x), labels, reduction="none")

    through, step = attacked(classify) - images, 1e-2
    differences = (loss(images + step * through.sign()) - loss(images - step * through.sign())) / 2
    assert (differences > 0).all()
    assert not torch.equal(through, attacked(classifier(clip, PROMPTS)) - images)


def test_a_wrapper_delegates_and_changes_only_what_it_overrides(clip: Clip, plugins: None) -> None:
    victim, images = bordered(clip, 0.0), torch.rand(2, 3, clip.image_size, clip.image_size)
    torch.testing.assert_close(victim.encode_images(images), clip.encode_images(images))
    torch.testing.assert_close(victim.image_features(images), clip.image_features(images))
    assert torch.equal(victim.embed_texts(PROMPTS), clip.embed_texts(PROMPTS))
    assert victim.token_rows(PROMPTS) == clip.token_rows(PROMPTS)
    assert (victim.name, victim.origin, victim.device, victim.clip) == (clip.name, clip.origin, clip.device, clip)
    assert torch.equal(victim.scale, clip.scale) and victim.precision == "fp32"
    changed = bordered(clip, 0.1)
    assert not torch.equal(changed.encode_images(images), clip.encode_images(images))


def test_a_digest_is_of_everything_that_decides(clip: Clip, plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {clip.digest(), bordered(clip).digest(), bordered(clip, 0.2).digest()}
    digests.add(wrap("border", clip, BorderSettings(2), base="vit").digest())
    digests.add(wrap("counter", clip, CounterSettings(), base="vit").digest())
    row = WRAPPERS["border"]
    monkeypatch.setitem(WRAPPERS, "border", type(row)(row.name, row.build, settings=row.settings, version=2))
    digests.add(bordered(clip).digest())
    with torch.no_grad():
        next(clip.parameters()).add_(1)
    digests.add(bordered(clip).digest())
    assert len(digests) == 7
    assert bordered(clip).digest() == bordered(clip).digest()


def test_training_moves_the_border_alone_and_stores_it_alone(home: Home, trained: Callable[..., Any]) -> None:
    run = trained()
    first, last = epochs_in(home.checkpoints / run.id)
    assert not load_tensors(first)["delta"].equal(load_tensors(last)["delta"])
    assert set(load_tensors(last)) == {"delta"}
    assert sum(path.stat().st_size for path in last.glob("model*")) < 2_000
    victim = victim_of(run.id, home)
    assert victim.digest() == run.weights == checkpoint_digest(last) == weights_of(run, home)
    assert Present(home).weights(run) == run.weights
    before = load_tensors(home.clips / "vit")
    assert all(tensor.equal(before[name]) for name, tensor in victim.clip.tensors().items())
    assert (
        read_wrapper_record(last).base == "vit"
        and stored_spec(run.method, run.spec).wrapper_settings == BorderSettings()
    )


def test_an_evaluation_and_its_attack_go_through_the_border(
    home: Home, trained: Callable[..., Any], accelerator: Accelerator
) -> None:
    run, options = trained(lr=20.0), {"steps": 2, "eps": "8/255", "limit": 30}
    index = Index(home.database_url)
    values = {}
    for checkpoint in (run.id, "vit"):
        spec = evaluation_spec(checkpoint, ("digits",), ("clean", "image"), **options)
        ids = evaluated(spec, home, accelerator)
        found = index.results(evaluations=ids)
        values[checkpoint] = {r.attack: (r.weights, r.examples) for _, r in found}
    assert values[run.id]["image"] != values["vit"]["image"]
    assert {weights for weights, _ in values[run.id].values()} == {run.weights}


def test_a_border_goes_on_bit_for_bit(new_home: Callable[[str], Home], plugins: None, accelerator: Accelerator) -> None:
    one, other = new_home("one"), new_home("other")
    spec = train_spec(
        "bordered", dataset="digits", shots="2", model="vit", epochs=3, batch_size=8, eps="4/255", steps=1
    )
    through = train(spec, one, accelerator)
    begun = train(spec, other, accelerator)
    index, folder = Index(other.database_url), other.checkpoints / begun.id
    shutil.rmtree(folder / "epoch-003")
    assert train(spec, other, accelerator).weights == through.weights  # without the state of epoch 2: from anew
    run, longer = spec_to_go_on_with(begun.id, other, epochs=4)
    gone_on = train(longer, other, accelerator, resumed=run)
    assert gone_on.weights == train(spec.changed(epochs=4), one, accelerator).weights
    assert index.run(gone_on.id) == gone_on


def test_a_cosine_is_not_gone_on_with_and_resumes_bit_for_bit(
    new_home: Callable[[str], Home], plugins: None, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = new_home("one"), new_home("other")
    spec = train_spec(
        "bordered", dataset="digits", shots="2", model="vit", epochs=3, batch_size=8, steps=1, schedule="cosine",
        warmup_steps=2, optimizer="adamw", lr=0.1,
    )  # fmt: skip
    through, save = train(spec, one, accelerator), training_steps.save_epoch

    def interrupted(*given: Any, epoch: int, **named: Any) -> None:
        save(*given, epoch=epoch, **named)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_steps, "save_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(spec, other, accelerator)
    monkeypatch.setattr(training_steps, "save_epoch", save)
    again = train(spec, other, accelerator)
    assert (again.id, again.weights) == (through.id, through.weights)
    with pytest.raises(UserError, match="it cannot go on to 4, because its learning rate falls as a cosine") as raised:
        spec_to_go_on_with(again.id, other, epochs=4)
    assert raised.value.hint == command_of_training(spec.changed(epochs=4))


def test_a_replaced_base_is_an_error_in_words(home: Home, trained: Callable[..., Any]) -> None:
    run = trained()
    replaced(home)
    with pytest.raises(UserError, match=f"run {run.id} stands around vit, which was replaced since") as raised:
        victim_of(run.id, home)
    assert raised.value.hint == "train it again: mmcoa train --method bordered"


def test_a_missing_base_is_an_error_in_words(home: Home, trained: Callable[..., Any]) -> None:
    run = trained()
    shutil.rmtree(home.clips / "vit")
    with pytest.raises(UserError, match=f"run {run.id} stands around vit: there is no model called 'vit'"):
        victim_of(run.id, home)


def test_another_version_of_the_wrapper_is_an_error_in_words(
    home: Home, trained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, row = trained(), WRAPPERS["border"]
    monkeypatch.setitem(WRAPPERS, "border", type(row)(row.name, row.build, settings=row.settings, version=2))
    with pytest.raises(UserError, match=f"run {run.id} has version 1 of border, and this is version 2"):
        victim_of(run.id, home)
    monkeypatch.delitem(WRAPPERS, "border")
    with pytest.raises(UserError, match="there is no wrapper called 'border'"):
        victim_of(run.id, home)


def other_tensors(folder: Path) -> None:
    save_checkpoint(
        folder, tensors={"delta": torch.zeros(3)}, spec=json.loads((folder / "spec.json").read_text()),
        files={"wrapper.json": (folder / "wrapper.json").read_text()},
    )  # fmt: skip


def other_record(folder: Path) -> None:
    path = folder / "wrapper.json"
    text = path.read_text().replace('"width": 1', '"width": 2')
    path.unlink()
    path.write_text(text)


def no_record(folder: Path) -> None:
    (folder / "wrapper.json").unlink()


def flipped(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [other_tensors, other_record, no_record, flipped])
def test_an_altered_checkpoint_is_not_loaded(
    home: Home, trained: Callable[..., Any], harm: Callable[[Path], None]
) -> None:
    run = trained(epochs=1)
    harm(home.checkpoints / run.id / "epoch-001")
    with pytest.raises(UserError, match=run.id):
        victim_of(run.id, home)


def test_a_border_around_a_run(home: Home, trained: Callable[..., Any]) -> None:
    """Loading is a fold: a border around a fine-tuned model, and one around that border."""
    tuned = trained("ft-standard", epochs=1, lr=1e-3)
    inner = trained(model=tuned.id)
    outer = trained(model=inner.id)
    victim = victim_of(outer.id, home)
    assert victim.digest() == outer.weights and victim.inner.digest() == inner.weights  # type: ignore[attr-defined]
    expected = load_tensors(epochs_in(home.checkpoints / tuned.id)[-1])
    assert all(tensor.equal(expected[name]) for name, tensor in victim.clip.tensors().items())
    with pytest.raises(UserError, match="is a wrapper around a model, and tecoa trains a model's own weights"):
        trained("tecoa", model=inner.id)
    shutil.rmtree(home.checkpoints / tuned.id)
    with pytest.raises(UserError, match=f"run {outer.id} stands around {inner.id}: run {inner.id} stands around"):
        victim_of(outer.id, home)


def test_a_run_around_itself_is_refused(home: Home, trained: Callable[..., Any]) -> None:
    run = trained(epochs=1)
    folder = home.checkpoints / run.id / "epoch-001"
    about = json.loads((folder / "wrapper.json").read_text())
    spec = json.loads((folder / "spec.json").read_text())
    text = json.dumps({**about, "base": run.id})
    kept = {name: spec[name] for name in ("epoch", "run")}
    save_checkpoint(
        folder, tensors=load_tensors(folder), files={"wrapper.json": text},
        spec={**kept, "files": {"wrapper.json": hashlib.sha256(text.encode()).hexdigest()}},
    )  # fmt: skip
    with pytest.raises(UserError, match=f"run {run.id} stands around itself"):
        victim_of(run.id, home)


def test_a_method_that_trains_nothing_is_zero_shot_through_its_wrapper(
    home: Home, plugins: None, accelerator: Accelerator
) -> None:
    outcome = launch.run(
        Job(
            train_spec("ttc", dataset="digits", model="vit"),
            evaluation_spec("", ("digits",), ("clean", "image"), steps=1, limit=20),
        )
    )
    assert outcome.run == "ttc-vit"
    index = Index(home.database_url)
    run = index.run("ttc-vit")
    assert run is not None and (run.kind, run.method, run.source) == ("zero-shot", "ttc", "")
    expected = wrap("counter", load_base("vit", home), CounterSettings(), base="vit")
    assert run.weights == expected.digest() == victim_of("ttc-vit", home).digest() == Present(home).weights(run)
    found = index.results(evaluations=outcome.evaluations)
    assert {(r.attack, r.weights) for _, r in found} == {("clean", run.weights), ("image", run.weights)}
    stronger = train(train_spec("ttc", dataset="digits", model="vit", strength=0.5), home, accelerator)
    assert stronger.id.startswith("ttc-vit-") and stronger.weights != run.weights
    assert victim_of(stronger.id, home).settings == CounterSettings(0.5)  # type: ignore[attr-defined]
    assert not home.checkpoints.exists()


def test_a_model_through_a_wrapper_is_named_without_training(home: Home, plugins: None) -> None:
    """`mmcoa evaluate --checkpoint METHOD-MODEL` makes the run where there is none yet."""
    outcome = launch.run(Job(evaluate=evaluation_spec("ttc-vit", ("digits",), ("clean",), limit=10)))
    index = Index(home.database_url)
    assert [run.id for run in index.runs()] == ["ttc-vit"]
    ((run, _),) = [*index.results(evaluations=outcome.evaluations)][:1]
    assert run.method == "ttc"
    for name in ("ttc-nothing", "bordered-vit", "tecoa-vit"):
        with pytest.raises(UserError, match=f"no run or model called '{name}'"):
            launch.run(Job(evaluate=evaluation_spec(name, ("digits",), ("clean",), limit=10)))
