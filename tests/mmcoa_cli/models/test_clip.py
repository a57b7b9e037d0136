"""CLIP between pixels, strings and embeddings: equal to open_clip's own, hashed whole, and safe to load."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mmcoa_cli import catalog
from mmcoa_cli.models.clip import Clip, load_clip
from mmcoa_cli.models.epochs import clip_files
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.origins import OWN, RECORD
from store.errors import UserError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4},
    "text_cfg": TEXT,
}
TEXTS = ["a", "This is a photo of a cat", "This is a photo of a jack-o'-lantern", "", "!!!", "one " * 40, "é ü 猫"]


def save(clip: Clip, folder: Path) -> Path:
    """`clip` as an open_clip local folder."""
    folder.mkdir(exist_ok=True)
    save_file(clip.tensors(), folder / "open_clip_model.safetensors")
    for name, text in clip_files(clip, source="a test").items():
        if name != RECORD:  # else nothing could be changed without being refused
            (folder / name).write_text(text, encoding="utf8")
    return folder


@pytest.fixture
def folder(small_clips: dict[str, Clip], tmp_path: Path) -> Path:
    return save(small_clips["vit"], tmp_path / "clip")


def test_texts_cut_short_are_those_of_the_whole_context(clip: Clip):
    whole = clip.model.encode_text(clip.tokenizer(TEXTS), normalize=True)
    for some in (TEXTS, TEXTS[:2], TEXTS[3:4], TEXTS[:5]):
        tokens = clip.tokenize(some)
        assert tokens.shape[1] <= 16
        expected = whole[[TEXTS.index(text) for text in some]]
        torch.testing.assert_close(clip.encode_texts(tokens), expected, rtol=0, atol=2e-6)
        torch.testing.assert_close(clip.embed_texts(some), expected.detach(), rtol=0, atol=2e-6)
    assert clip.tokenize(["a cat"]).shape[1] == 4  # start, a, cat, end
    assert clip.tokenize(["one " * 40]).shape[1] == 16


def test_texts_cut_short_are_those_of_the_whole_context_on_the_stand_ins(stand_in: Clip):
    whole = stand_in.model.encode_text(stand_in.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(stand_in.encode_texts(stand_in.tokenize(TEXTS)), whole, rtol=0, atol=2e-6)


TOWERS: dict[str, dict[str, Any]] = {
    "no causal mask": {**VIT, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "pooled at the last token": {**VIT, "text_cfg": {**TEXT, "pool_type": "last"}},
    "own text tower": {**VIT, "custom_text": True},
    "linear projection": {**VIT, "text_cfg": {**TEXT, "proj_bias": True}},
    "no projection": {**VIT, "text_cfg": {**TEXT, "proj_type": "none"}},
    "quick gelu": {**VIT, "quick_gelu": True},
}


@pytest.mark.parametrize("tower", TOWERS)
def test_other_text_towers_are_those_of_open_clip(tower: str):
    clip = new_clip(TOWERS[tower], name="other", seed=0)
    whole = clip.model.encode_text(clip.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(clip.encode_texts(clip.tokenize(TEXTS)), whole, rtol=0, atol=2e-6)


def test_many_texts_are_embedded_in_batches(small_clips: dict[str, Clip]):
    clip = small_clips["vit"]
    texts = [f"number {k}" for k in range(1100)]
    embedded = clip.embed_texts(texts)
    assert embedded.shape == (1100, 32) and not embedded.requires_grad
    for k in (0, 511, 512, 1099):
        torch.testing.assert_close(embedded[k], clip.embed_texts([texts[k]])[0], rtol=0, atol=2e-6)


def test_images_go_through_bicubic_resize_and_normalisation(clip: Clip):
    size, rng = clip.image_size, torch.Generator().manual_seed(0)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    for given in (size // 2, size, 2 * size + 1):
        images = torch.rand(3, 3, given, given, generator=rng)
        resized = images
        if given != size:
            resized = F.interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=given > size)
        expected = clip.model.encode_image((resized - mean) / std, normalize=True)
        ours = clip.encode_images(images)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(3), rtol=0, atol=1e-5)


def test_the_default_model_has_the_activation_its_weights_need():
    """OpenAI's weights were trained with QuickGELU; "ViT-B-32" of open_clip has none."""
    row = catalog.models()["ViT-B-32"]
    assert open_clip.get_model_config(row.architecture)["quick_gelu"] is True
    assert (row.architecture, row.pretrained) in open_clip.list_pretrained()
    assert "quick_gelu" not in open_clip.get_model_config("ViT-B-32")
    quick, plain = (new_clip({**VIT, "quick_gelu": quick}, name="q", seed=0) for quick in (True, False))
    images = torch.rand(2, 3, 16, 16)
    assert not torch.allclose(quick.encode_images(images), plain.encode_images(images), atol=1e-4)


def test_a_clip_is_in_evaluation_mode(folder: Path):
    for clip in (new_clip(VIT, name="new", seed=0), load_clip(folder, name="loaded")):
        assert not any(module.training for module in clip.model.modules())


def test_new_weights_are_those_of_the_seed():
    first, again, other = (new_clip(VIT, name="new", seed=seed) for seed in (0, 0, 1))
    assert first.digest() == again.digest() != other.digest()


def test_what_was_saved_is_what_is_loaded(clip: Clip, tmp_path: Path):
    loaded = load_clip(save(clip, tmp_path / "saved"), name="saved")
    assert loaded.digest() == clip.digest()
    assert loaded.origin.kind == OWN
    images = torch.rand(2, 3, 20, 20)
    assert torch.equal(loaded.encode_images(images), clip.encode_images(images))
    assert torch.equal(loaded.embed_texts(TEXTS), clip.embed_texts(TEXTS))
    assert all(torch.equal(tensor, clip.tensors()[name]) for name, tensor in loaded.tensors().items())


@pytest.mark.parametrize("name", ["logit_scale", "visual.proj", "visual.bn1.running_var", "token_embedding.weight"])
def test_the_digest_changes_with_any_number(small_clips: dict[str, Clip], name: str):
    """One weight, or one running statistic, by the smallest step there is."""
    original = small_clips["resnet" if "bn1" in name else "vit"]
    clip = copy.deepcopy(original, {id(original.tokenizer): original.tokenizer})
    with torch.no_grad():
        value = clip.model.state_dict()[name].view(-1)[-1:]
        value.copy_(torch.nextafter(value, torch.full_like(value, 1e9)))
    assert clip.digest() != original.digest()


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["preprocess_cfg"].update(mean=[0.5, 0.5, 0.5]),
        lambda config: config["preprocess_cfg"].update(std=[0.5, 0.5, 0.5]),
        lambda config: config["model_cfg"].update(quick_gelu=True),
    ],
    ids=["mean", "std", "activation"],
)
def test_the_digest_changes_with_what_surrounds_the_weights(folder: Path, change: Callable[[dict[str, Any]], None]):
    before = load_clip(folder, name="clip")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf8")
    after = load_clip(folder, name="clip")
    images = torch.rand(2, 3, 16, 16)
    assert not torch.equal(before.encode_images(images), after.encode_images(images))
    assert before.digest() != after.digest()


def test_the_digest_does_not_depend_on_name_or_order(folder: Path):
    before = load_clip(folder, name="clip").digest()
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    path.write_text(json.dumps(dict(reversed(config.items()))), encoding="utf8")
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file(dict(reversed(weights.items())), folder / "open_clip_model.safetensors")
    assert load_clip(folder, name="another name").digest() == before


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf8")  # type: ignore[return-value]


def with_config(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf8"))
        for part, values in changes.items():
            config[part] = {**config[part], **values} if isinstance(values, dict) else values
        (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf8")

    return damage


def change_weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "open_clip_model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return damage


def rewrite_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "open_clip_model.safetensors")
        change(weights)
        save_file(weights, folder / "open_clip_model.safetensors")

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no configuration": lambda folder: (folder / "open_clip_config.json").unlink(),
    "no weights": lambda folder: (folder / "open_clip_model.safetensors").unlink(),
    "no JSON": write("open_clip_config.json", "{"),
    "no UTF-8": lambda folder: (folder / "open_clip_config.json").write_bytes(b"\xff\xfe\x00{"),
    "a list": write("open_clip_config.json", "[]"),
    "deep JSON": write("open_clip_config.json", "[" * 100_000),
    "empty configuration": write("open_clip_config.json", "{}"),
    "model_cfg is a text": with_config(model_cfg="ViT-B-32"),
    "no text tower": write("open_clip_config.json", '{"model_cfg": {"embed_dim": 8}}'),
    "unknown option": with_config(model_cfg={"depth": 3}),
    "another width": with_config(model_cfg={"embed_dim": 64}),
    "no patches": with_config(model_cfg={"vision_cfg": {**VIT["vision_cfg"], "patch_size": 0}}),
    "heads that do not divide": with_config(model_cfg={"text_cfg": {**TEXT, "heads": 3}}),
    "mean of two": with_config(preprocess_cfg={"mean": [0.5, 0.5]}),
    "mean of texts": with_config(preprocess_cfg={"mean": ["a", "b", "c"]}),
    "preprocess_cfg is a number": with_config(preprocess_cfg=3),
    "empty weights": change_weights(lambda data: b""),
    "cut weights": change_weights(lambda data: data[: len(data) // 2]),
    "cut header": change_weights(lambda data: data[:20]),
    "no safetensors": change_weights(lambda data: b"\x80\x02" * 5000),
    "a missing weight": rewrite_weights(lambda weights: weights.pop("visual.proj")),
    "a weight too many": rewrite_weights(lambda weights: weights.update(extra=torch.zeros(2))),
    "a weight of another shape": rewrite_weights(lambda weights: weights.update({"visual.proj": torch.zeros(2)})),
    "source.json is no JSON": write("source.json", "nothing"),
    "source.json is a list": write("source.json", "[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_line_and_a_hint(folder: Path, damage: str):
    DAMAGES[damage](folder)
    with pytest.raises(UserError) as caught:
        load_clip(folder, name="mine")
    assert "mine" in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.hint


def test_no_folder_at_all_is_one_line(tmp_path: Path):
    with pytest.raises(UserError):
        load_clip(tmp_path / "nowhere", name="mine")


class Evil:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "a.bin", "pytorch_model.pth", "model.pth"])
@pytest.mark.parametrize("weights", [None, "open_clip_model.safetensors", "a.safetensors", "z.safetensors"])
def test_a_pickle_beside_the_weights_is_never_read(folder: Path, name: str, weights: str | None):
    """Also where open_clip itself would prefer it: what loads are the safetensors, or nothing."""
    expected = load_clip(folder, name="clip").digest()
    original = folder / "open_clip_model.safetensors"
    original.unlink() if weights is None else original.rename(folder / weights)
    (folder / name).write_bytes(pickle.dumps({"visual.proj": Evil(folder / "ran")}))
    try:
        loaded = load_clip(folder, name="clip").digest()
    except UserError:
        assert weights != "open_clip_model.safetensors"
    else:
        assert loaded == expected and weights is not None
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("trust", [True, None], ids=["asks for trust", "leaves it to a question"])
def test_a_tokenizer_of_its_own_runs_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch, trust: bool | None):
    """transformers would ask on the terminal whether to run it; nobody may be asked."""
    text = {**TEXT, "hf_tokenizer_name": "anything"}
    with_config(model_cfg={"text_cfg": {**text, "tokenizer_kwargs": {"trust_remote_code": True}} if trust else text})(
        folder
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}),
        encoding="utf8",
    )
    touch = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\n"
    (folder / "evil.py").write_text(f"{touch}class Evil: pass\n", encoding="utf8")
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    with pytest.raises(UserError):
        load_clip(folder, name="clip")
    assert asked == [] and not (folder / "ran").exists()


BAD_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "empty": {},
    "no vision": {"embed_dim": 8, "text_cfg": TEXT},
    "unknown option": {**VIT, "colour": "red"},
    "unknown option of a tower": {**VIT, "text_cfg": {**TEXT, "colour": "red"}},
    "heads that do not divide": {**VIT, "text_cfg": {**TEXT, "heads": 3}},
    "no patches": {**VIT, "vision_cfg": {**VIT["vision_cfg"], "patch_size": 0}},
    "texts for numbers": {**VIT, "embed_dim": "wide"},
    "a tower that is a list": {**VIT, "text_cfg": [1, 2]},
    "negative width": {**VIT, "text_cfg": {**TEXT, "width": -2}},
    "model_cfg is a text": {"model_cfg": "ViT-B-32"},
}


@pytest.mark.parametrize("name", BAD_ARCHITECTURES)
def test_an_architecture_that_is_none_is_one_line(name: str):
    with pytest.raises(UserError):
        new_clip(BAD_ARCHITECTURES[name], name="mine", seed=0)


def test_an_architecture_under_model_cfg_is_the_same():
    assert new_clip(VIT, name="a", seed=0).digest() == new_clip({"model_cfg": VIT}, name="b", seed=0).digest()
