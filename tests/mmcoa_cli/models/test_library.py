"""Models into the store: from folders and files of this machine, as data only."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

from mmcoa_cli.inventory import Kind, fetch
from mmcoa_cli.models.clip import load_clip
from mmcoa_cli.models.library import (
    clip_path,
    ensure_clip,
    ensure_mlm,
    fetch_clip,
    fetch_mlm,
    is_clip,
    mlm_path,
    registered,
)
from mmcoa_cli.models.masked_lm import load_masked_lm
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.errors import UserError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4}
CONFIG = {
    "model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT},
    "preprocess_cfg": {"size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return new_clip(CONFIG, name="small", seed=0).tensors()


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A CLIP as open_clip's local folders are."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "open_clip_config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, tmp_path / "small" / "open_clip_model.safetensors")
    return tmp_path / "small"


def bert(folder: Path, kind: type[Any] = BertForMaskedLM) -> Path:
    """A masked LM (or a BERT without its head) as `save_pretrained` writes it."""
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "photo", "cat", "dog"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    kind(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    return folder


def about(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "source.json").read_text())
    return document


def test_a_local_folder(home: Home, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    (folder / "evil.py").write_text("import os")
    assert fetch_clip("mine", home, source=folder)
    assert not fetch_clip("mine", home, source=folder)
    names = sorted(path.name for path in clip_path("mine", home).iterdir())
    assert names == ["open_clip_config.json", "open_clip_model.safetensors", "source.json"]
    clip = load_clip(clip_path("mine", home), name="mine")
    for name, tensor in clip.tensors().items():
        assert torch.equal(tensor, tensors[name])
    assert (clip.origin.kind, clip.origin.sha256) == ("own", about(clip_path("mine", home))["sha256"])
    assert is_clip("mine", home)
    assert ensure_clip("mine", home) == clip_path("mine", home)
    assert registered(home.clips) == ["mine"]


def test_a_model_in_the_cache_of_the_hub(home: Home, folder: Path, tmp_path: Path) -> None:
    """It is named by its repository, and keeps each state of it."""
    cache = tmp_path / "models--org--small"
    (cache / "refs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    shutil.copytree(folder, cache / "snapshots" / "abc1")
    assert fetch("first", home, source=cache).kind is Kind.clip
    shutil.copytree(folder, cache / "snapshots" / "abc2")
    with pytest.raises(UserError, match="holds 2 states"):
        fetch("second", home, source=cache)
    (cache / "refs" / "main").write_text("abc2\n")
    assert fetch("second", home, source=cache).kind is Kind.clip


def test_a_clip_without_its_own_tokenizer(home: Home, folder: Path) -> None:
    config = {**CONFIG, "model_cfg": {**CONFIG["model_cfg"], "text_cfg": {**TEXT, "hf_tokenizer_name": "org/own"}}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="by that of 'org/own'") as raised:
        fetch_clip("mine", home, source=folder)
    assert "tokenizer.json" in str(raised.value.hint)


@pytest.mark.parametrize("ending", ["pt", "pth", "bin"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_foreign_file_of_weights(
    home: Home, folder: Path, tensors: dict[str, torch.Tensor], ending: str, wrapped: bool
) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    content = {"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3} if wrapped else tensors
    torch.save(content, folder / f"weights.{ending}")
    for name, source in (("file", folder / f"weights.{ending}"), ("folder", folder)):
        fetch_clip(name, home, source=source)
        found = load_clip(clip_path(name, home), name=name).tensors()
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], tensors[key]) for key in tensors)
        assert [p.name for p in clip_path(name, home).glob("*.safetensors")] == ["open_clip_model.safetensors"]


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_file_runs_nothing(home: Home, folder: Path, tmp_path: Path, legacy: bool) -> None:
    mark = tmp_path / "mark"
    torch.save({"a": Hostile(mark)}, folder / "w.pt", _use_new_zipfile_serialization=not legacy)
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Hostile(mark)))
    for source in (folder / "w.pt", tmp_path / "plain.bin"):
        with pytest.raises(UserError, match="none of it was run"):
            fetch_clip("ViT-B-32", home, source=source)
    assert not mark.exists()
    assert registered(home.clips) == []


def test_a_configuration_that_asks_for_code_is_refused(home: Home, folder: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="run code from elsewhere"):
        fetch_clip("mine", home, source=folder)


@pytest.mark.parametrize("kind", ["truncated", "noise", "other architecture", "no config", "damaged config", "empty"])
def test_what_is_no_clip(home: Home, folder: Path, kind: str) -> None:
    weights, config = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "noise":
        weights.write_bytes(b"noise" * 100)
    elif kind == "other architecture":
        config.write_text(config.read_text().replace('"layers": 1', '"layers": 2'))
    elif kind == "no config":
        config.unlink()
    elif kind == "damaged config":
        config.write_text("{")
    else:
        weights.unlink()
    with pytest.raises(UserError):
        fetch_clip("mine", home, source=folder)
    assert registered(home.clips) == []


def test_a_fetched_model_keeps_its_label_on_another_machine(home: Home, folder: Path) -> None:
    fetch_clip("mine", home, source=folder)
    path = clip_path("mine", home)
    record = about(path)
    (path / "source.json").write_text(json.dumps(record | {"origin": "published", "source": "org/clip@1"}))
    other = Home(home.root / "other", "")
    fetch_clip("same", other, source=path)
    same = about(clip_path("same", other))
    assert (same["name"], same["origin"], same["source"]) == ("same", "published", "org/clip@1")
    (path / "source.json").write_text(json.dumps(record | {"origin": "published", "sha256": "0" * 64, "files": {}}))
    fetch_clip("altered", other, source=path)
    assert about(clip_path("altered", other))["origin"] == "own"


def test_a_local_masked_lm(home: Home, tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "evil.py").write_text("import os")
    assert fetch_mlm("mine", home, source=folder)
    assert not fetch_mlm("mine", home)
    mlm = load_masked_lm(ensure_mlm("mine", home), name="mine")
    assert mlm.origin.kind == "own"
    assert not (mlm_path("mine", home) / "evil.py").exists()


@pytest.mark.parametrize("kind", ["no head", "no weights", "a file", "a pickle", "truncated", "no tokenizer"])
def test_what_is_no_masked_lm(home: Home, tmp_path: Path, kind: str) -> None:
    folder = bert(tmp_path / "bert", BertModel if kind == "no head" else BertForMaskedLM)
    weights = folder / "model.safetensors"
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "a pickle":
        torch.save({"a": Hostile(tmp_path / "mark")}, folder / "pytorch_model.bin")
    elif kind == "no tokenizer":
        for path in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")):
            path.unlink()
    if kind in ("no weights", "a pickle"):
        weights.unlink()
    with pytest.raises(UserError):
        fetch_mlm("mine", home, source=weights if kind == "a file" else folder)
    assert registered(home.mlms) == []
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "name", ["ViT-B-32", "ViT-B-32:laion2b_s34b_b79k", "hf-hub:org/clip", "bert-base-uncased", "org/bert"]
)
def test_without_a_network_one_line_names_from(home: Home, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    fetch = fetch_mlm if "bert" in name else fetch_clip
    with pytest.raises(UserError, match="no network") as caught:
        fetch(name, home)
    assert f"mmcoa fetch {name} --from PATH" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ViT-B-32:openia", "ViT-B-32:openai"),
        ("ViT-B-33", "did you mean ViT-B-32"),
        ("mine", "mmcoa fetch mine --from"),
    ],
)
def test_names_that_are_none(home: Home, name: str, hint: str) -> None:
    with pytest.raises(UserError, match="no ") as caught:
        fetch_clip(name, home)
    assert hint in caught.value.hint


def test_embedded_models_come_from_nowhere_else(home: Home, folder: Path) -> None:
    with pytest.raises(UserError, match="embedded"):
        fetch_clip("tiny-clip", home, source=folder)
    with pytest.raises(UserError, match="embedded"):
        fetch_mlm("tiny-mlm", home, source=folder)


def test_openai_weights_get_the_quickgelu_they_need() -> None:
    from mmcoa_cli import catalog
    from mmcoa_cli.catalog import ModelRow
    from mmcoa_cli.models.published import published

    for row in (catalog.models()["ViT-B-32"], ModelRow("ViT-B-32:openai")):
        known = published(row)
        assert known.config["model_cfg"]["quick_gelu"]
        assert known.repository == "timm/vit_base_patch32_clip_224.openai"
        assert known.config["preprocess_cfg"]["mean"] == open_clip.OPENAI_DATASET_MEAN
    assert "quick_gelu" not in published(ModelRow("ViT-B-32:laion2b_s34b_b79k")).config["model_cfg"]


def test_weights_of_an_architecture_alone_are_preprocessed_as_all_its_published_ones() -> None:
    from mmcoa_cli.catalog import ModelRow
    from mmcoa_cli.models.published import architecture_config, published

    for name in ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP:mine", "ViT-SO400M-14-SigLIP"):
        known = architecture_config(ModelRow(name))["preprocess_cfg"]
        assert known["mean"] == known["std"] == (0.5, 0.5, 0.5) and known["resize_mode"] == "squash"
    tag = published(ModelRow("ViT-B-16-SigLIP:webli")).config["preprocess_cfg"]
    assert architecture_config(ModelRow("ViT-B-16-SigLIP"))["preprocess_cfg"] == tag
    assert "mean" not in architecture_config(ModelRow("ViT-L-14"))["preprocess_cfg"]  # of which there are two
    assert architecture_config(ModelRow("ViT-S-16"))["preprocess_cfg"] == {}  # which has no published weights


def test_every_tag_of_open_clip_has_a_repository() -> None:
    from mmcoa_cli.catalog import ModelRow
    from mmcoa_cli.models.published import published

    for architecture, tag in open_clip.list_pretrained():
        repository = published(ModelRow(f"{architecture}:{tag}")).repository
        assert repository.count("/") == 1
        assert not repository.endswith("/")


def test_two_names_that_share_a_folder(home: Home, folder: Path) -> None:
    fetch_clip("my clip", home, source=folder)
    assert not fetch_clip("my clip", home, source=folder)
    for source in (folder, None):
        with pytest.raises(UserError, match="'my-clip' and 'my clip' have the same place in the store") as caught:
            fetch_clip("my-clip", home, source=source)
        assert "--replace" in caught.value.hint
