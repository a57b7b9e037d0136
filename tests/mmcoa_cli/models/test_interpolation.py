"""Models between two: their ends, their tensors by hand, and that each can be tested and reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.jobs.evaluation import evaluate
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.current_digests import Present
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.interpolation import blend, interpolate
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.runs import run_of
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index


@pytest.fixture
def trained(home: Home) -> Callable[..., str]:
    """A run on two images a class of digits."""

    def learn(method: str = "ft-standard", **options: Any) -> str:
        usual = {"dataset": "digits", "shots": "2", "model": "vit", "epochs": 1, "batch_size": 10, "lr": 1e-2}
        return train(train_spec(method, **{**usual, **options}), home, Accelerator(cpu=True)).id

    return learn


def tensors_of(run: str, home: Home) -> dict[str, Tensor]:
    (epoch,) = epochs_in(home.checkpoints / run)
    return load_tensors(epoch)


def tensors_at(name: str, home: Home) -> dict[str, Tensor]:
    return load_subject(run_of(name, home, Index(home.database_url)), home).tensors()


@pytest.mark.parametrize("model", ["vit", "resnet"])
def test_the_ends_are_bit_for_bit_the_two_and_the_middle_is_between(
    home: Home, trained: Callable[..., str], model: str
) -> None:
    run = trained(model=model)
    first, middle, last = interpolate(model, run, home, steps=3)
    a, b = tensors_at(model, home), tensors_at(run, home)
    assert all(tensor.equal(a[name]) for name, tensor in tensors_of(first.id, home).items())
    assert all(tensor.equal(b[name]) for name, tensor in tensors_of(last.id, home).items())
    index = Index(home.database_url)
    weights = [index.run(name).weights for name in (f"clip-{model}", run)]  # type: ignore[union-attr]
    assert [first.weights, last.weights] == weights
    moved = 0
    for name, tensor in tensors_of(middle.id, home).items():
        if tensor.is_floating_point():
            moved += not a[name].equal(b[name])
            torch.testing.assert_close(tensor.double(), (a[name].double() + b[name].double()) / 2, rtol=1e-7, atol=1e-9)
        else:
            assert tensor.equal(a[name]), name
    assert moved > 10
    assert middle.weights == load_subject(middle, home).digest() == Present(home).weights(middle)
    assert middle.weights not in weights


def test_numbers_move_in_double_and_whole_numbers_stay() -> None:
    """By hand: a tensor of floats, of halves, a logarithm of the scale, and two counts."""
    a = {
        "visual.x": torch.tensor([1.0, 3.0]), "y": torch.tensor([0.5], dtype=torch.float16),
        "logit_scale": torch.tensor(0.0), "visual.num_batches_tracked": torch.tensor(5), "mask": torch.tensor([True]),
    }  # fmt: skip
    b = {
        "visual.x": torch.tensor([2.0, -1.0]), "y": torch.tensor([1.5], dtype=torch.float16),
        "logit_scale": torch.tensor(2.0), "visual.num_batches_tracked": torch.tensor(9), "mask": torch.tensor([False]),
    }  # fmt: skip
    found = dict(blend(a, b, 0.25, towers="both"))
    assert found["visual.x"].tolist() == [1.25, 2.0] and found["y"].tolist() == [0.75]
    assert found["y"].dtype == torch.float16
    # the temperature is the geometric mean: exp(0)^.75 exp(2)^.25
    assert float(found["logit_scale"].exp()) == pytest.approx(1**0.75 * float(torch.tensor(2.0).exp()) ** 0.25)
    assert int(found["visual.num_batches_tracked"]) == 5 and bool(found["mask"])
    of_images = dict(blend(a, b, 0.25, towers="image"))
    assert of_images["visual.x"].tolist() == [1.25, 2.0]
    assert of_images["y"].equal(a["y"]) and of_images["logit_scale"].equal(a["logit_scale"])
    end = dict(blend(a, b, 1.0, towers="image"))
    assert int(end["visual.num_batches_tracked"]) == 9 and end["y"].equal(a["y"])
    same = {"x": torch.rand(1000)}
    assert dict(blend(same, same, 0.3, towers="both"))["x"].equal(same["x"])


def test_the_image_tower_alone(home: Home, trained: Callable[..., str]) -> None:
    run = trained()
    *_, last = interpolate("vit", run, home, steps=2, towers="image")
    a, b, found = tensors_at("vit", home), tensors_at(run, home), tensors_of(last.id, home)
    assert all(tensor.equal((b if name.startswith("visual.") else a)[name]) for name, tensor in found.items())
    assert json.loads(last.spec)["interpolated"]["towers"] == "image"
    both = interpolate("vit", run, home, steps=2)[-1]
    assert both.id != last.id


def test_running_statistics_move_and_counts_do_not(home: Home, trained: Callable[..., str]) -> None:
    run = trained(model="resnet")
    (folder,) = epochs_in(home.checkpoints / run)
    names = [name for name in load_tensors(folder) if name.endswith(("running_mean", "num_batches_tracked"))]
    start, end = tensors_at("resnet", home), {}
    for name in names:
        end[name] = start[name] + 4
    found = dict(blend({name: start[name] for name in names}, end, 0.5, towers="both"))
    for name in names:
        torch.testing.assert_close(found[name], start[name] + (2 if name.endswith("mean") else 0))


def test_each_is_tested_and_its_results_say_where_it_lies(home: Home, trained: Callable[..., str]) -> None:
    run, index = trained(), Index(home.database_url)
    runs = interpolate("vit", run, home, steps=3)
    keys = {}
    for checkpoint in ["vit", run, *(found.id for found in runs)]:
        spec = evaluation_spec(checkpoint, ("digits",), ("clean",), limit=30)
        ids = evaluate([spec], find_subject(spec, home), home, Accelerator(cpu=True))
        ((_, result),) = [pair for pair in index.results(evaluations=ids) if pair[1].metric == "clean_accuracy"]
        keys[checkpoint] = (result.examples, result.setting.get("w"))
    a, b, *way = keys.values()
    assert [w for _, w in way] == [0, 0.5, 1] and a[1] is b[1] is None
    assert (way[0][0], way[2][0]) == (a[0], b[0])  # the ends share the examples of the two
    assert len({key for key, _ in way}) == 3
    place = json.loads(runs[1].spec)["interpolated"]
    assert place["a"] == {"run": "clip-vit", "weights": index.run("clip-vit").weights}  # type: ignore[union-attr]
    assert place["b"]["run"] == run and place["w"] == 0.5
    assert (runs[1].kind, runs[1].method, runs[1].source) == ("interpolated", "ft-standard", "digits")


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(home: Home, trained: Callable[..., str]) -> None:
    run = trained()
    three = interpolate("vit", run, home, steps=3)
    files = {found.id: epochs_in(home.checkpoints / found.id)[0] / "model.safetensors" for found in three}
    written = {name: path.stat().st_ino for name, path in files.items()}
    five = interpolate("vit", run, home, steps=5)
    assert [found.id for found in five][::2] == [found.id for found in three]
    assert {name: path.stat().st_ino for name, path in files.items()} == written
    path = files[three[1].id]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"run {three[1].id} is damaged") as raised:
        run_of(three[1].id, home, Index(home.database_url))
    assert raised.value.hint == f"mmcoa interpolate clip-vit {run}"
    again = interpolate("vit", run, home, steps=3)[1]
    assert again.weights == three[1].weights == load_subject(again, home).digest()


def test_a_learned_prompt_is_no_end(home: Home, trained: Callable[..., str]) -> None:
    run = trained("vp", steps=1)
    with pytest.raises(UserError, match=f"{run} is a learned prompt or a defence around vit") as raised:
        interpolate("vit", run, home)
    assert raised.value.hint == "nothing lies between: interpolate vit and a fine-tuned model"


def test_two_architectures_are_named_by_their_first_difference(home: Home) -> None:
    with pytest.raises(UserError, match=r"vit and resnet are of two architectures: [\w.]+ is .* and .*") as raised:
        interpolate("vit", "resnet", home)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("options", "match"), [({"steps": 1}, "--steps 1"), ({"towers": "text"}, "--towers text")])
def test_a_way_that_is_none(home: Home, options: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        interpolate("vit", "vit", home, **options)
