"""The digest of a model: every file that decides what it computes, each alone, changes it; nothing else does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from mmcoa_cli.catalog import Kind
from mmcoa_cli.inventory import fetch
from mmcoa_cli.models.clip import Clip, load_clip
from mmcoa_cli.models.digests import fetch_again, files_of, model_digest
from mmcoa_cli.models.epochs import save_epoch
from mmcoa_cli.models.library import clip_path, mlm_path
from mmcoa_cli.models.masked_lm import load_masked_lm
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.errors import UserError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "photo", "cat", "dog", "a", "of"]
CONFIG = "open_clip_config.json"
BERT = {
    "num_attention_heads": 4, "hidden_act": "relu", "layer_norm_eps": 0.1, "position_embedding_type": "relative_key",
    "is_decoder": True, "pad_token_id": 1,
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A CLIP whose tokenizer is in files of its own, as SigLIP's is."""
    folder = tokenizer(tmp_path / "own")
    text = {**TEXT, "hf_tokenizer_name": "x", "no_causal_mask": True, "pool_type": "last"}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}}
    clip = new_clip(config, name="own", seed=0)  # which is built for CLIP's own tokenizer
    (folder / CONFIG).write_text(json.dumps({**clip.config, **config}))
    save_file(clip.tensors(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def mlm(tmp_path: Path) -> Path:
    folder = tokenizer(tmp_path / "mlm")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)  # type: ignore[arg-type]
    return folder


def tokenizer(folder: Path) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def edit(path: Path) -> None:
    """Change one file by as little as there is."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        name = max(tensors, key=lambda name: tensors[name].numel())
        tensors[name].view(-1)[-1:] += 1e-3
        save_file(tensors, path)
    else:
        path.write_bytes(path.read_bytes() + b"\n" if path.suffix == ".txt" else with_another_entry(path))


def with_another_entry(path: Path) -> bytes:
    return json.dumps({**json.loads(path.read_bytes()), "one more": 1}).encode()


@pytest.mark.parametrize("which", ["own", "mlm"])
def test_every_file_alone_changes_it(which: str, own: Path, mlm: Path, tmp_path: Path) -> None:
    folder = {"own": own, "mlm": mlm}[which]
    before, seen = model_digest(folder), {model_digest(folder)}
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(files_of(folder))
    assert len(files_of(folder)) >= 4
    for name in files_of(folder):
        other = shutil.copytree(folder, tmp_path / f"other {name}")
        assert model_digest(other) == before
        edit(other / name)
        seen.add(model_digest(other))
        (other / name).unlink()
        seen.add(model_digest(other))
    assert len(seen) == 1 + 2 * len(files_of(folder))


@pytest.mark.parametrize("which", ["own", "mlm"])
def test_a_new_file_changes_it(which: str, own: Path, mlm: Path) -> None:
    folder = {"own": own, "mlm": mlm}[which]
    before = model_digest(folder)
    for name in ("README.md", "source.json", "spec.json", "LICENSE", ".gitattributes"):
        (folder / name).write_text("{}")
    assert model_digest(folder) == before
    (folder / "added_tokens.json").write_text("{}")
    assert model_digest(folder) != before


@pytest.mark.parametrize("field", BERT)
def test_every_setting_of_a_masked_lm_changes_it(field: str, mlm: Path) -> None:
    before = model_digest(mlm)
    config = json.loads((mlm / "config.json").read_text())
    assert config.get(field) != BERT[field]
    (mlm / "config.json").write_text(json.dumps({**config, field: BERT[field]}))
    assert model_digest(mlm) != before
    (mlm / "config.json").write_text(json.dumps(dict(reversed(config.items()))))
    assert model_digest(mlm) == before


def test_every_field_of_both_configurations_changes_it(own: Path, mlm: Path) -> None:
    """The fields are read from the files, so that a new one cannot be forgotten."""
    for folder, name in ((own, CONFIG), (mlm, "config.json"), (mlm, "tokenizer_config.json")):
        whole = json.loads((folder / name).read_text())
        before, changes = model_digest(folder), 0
        for change in changed_fields(whole):
            (folder / name).write_text(json.dumps(change))
            assert model_digest(folder) != before, change
            changes += 1
        (folder / name).write_text(json.dumps(whole))
        assert model_digest(folder) == before and changes >= 5


def changed_fields(node: Any) -> list[Any]:
    """Copies of a document, in each of which one value is another."""
    if isinstance(node, dict):
        return [{**node, key: value} for key in node for value in changed_fields(node[key])]
    if isinstance(node, list) and node:
        return [[*node[:i], value, *node[i + 1 :]] for i in range(len(node)) for value in changed_fields(node[i])]
    return ["something else"]


def test_the_normalizer_of_a_tokenizer_changes_it(mlm: Path) -> None:
    before = model_digest(mlm)
    document = json.loads((mlm / "tokenizer.json").read_text())
    document["normalizer"]["lowercase"] = not document["normalizer"]["lowercase"]
    (mlm / "tokenizer.json").write_text(json.dumps(document))
    assert model_digest(mlm) != before


def test_that_of_the_folder_is_that_of_what_is_loaded(own: Path, mlm: Path, tmp_path: Path, clip: Clip) -> None:
    assert load_clip(own, name="own").digest() == model_digest(own)
    assert load_masked_lm(mlm, name="mlm").digest() == model_digest(mlm)
    for loaded in (load_clip(own, name="own"), clip):
        optimizer = torch.optim.Adam(loaded.parameters())
        with torch.no_grad():
            loaded.model.logit_scale.add_(0.5)  # something was learned
        save_epoch(tmp_path / loaded.name, loaded, optimizer, epoch=1, spec={})
        epoch = tmp_path / loaded.name / "epoch-001"
        assert loaded.digest() == model_digest(epoch) == load_clip(epoch, name="again").digest()
    assert (
        load_clip(tmp_path / "own" / "epoch-001", name="own").tokenize(["a cat"]).tolist()
        == load_clip(own, name="own").tokenize(["a cat"]).tolist()
    )


def test_it_needs_no_torch(mlm: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mmcoa_cli.models.digests import model_digest;"
        "print(model_digest(Path(sys.argv[1]))); assert not {'torch', 'transformers', 'open_clip'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(mlm)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == model_digest(mlm)


@pytest.mark.parametrize("kind", ["own", "mlm"])
def test_what_was_altered_in_the_store_is_refused(kind: str, own: Path, mlm: Path, home: Home, tmp_path: Path) -> None:
    source = {"own": own, "mlm": mlm}[kind]
    fetch("mine", home, source=source)
    folder = clip_path("mine", home) if kind == "own" else mlm_path("mine", home)
    load: Callable[..., Any] = load_clip if kind == "own" else load_masked_lm
    whole = shutil.copytree(folder, tmp_path / "whole")
    assert load(whole, name="mine")
    for name in files_of(folder):
        other = shutil.copytree(folder, tmp_path / f"other {name}")
        edit(other / name)
        with pytest.raises(UserError, match="was altered since it was fetched") as caught:
            load(other, name="mine")
        assert caught.value.hint == "mmcoa fetch mine --replace --from PATH"
    (whole / "added_tokens.json").write_text("{}")
    with pytest.raises(UserError, match=r"added_tokens.json was added to mine"):
        load(whole, name="mine")


def test_bytes_that_change_under_the_same_time_are_seen(own: Path, home: Home) -> None:
    fetch("mine", home, source=own)
    path = clip_path("mine", home) / "open_clip_model.safetensors"
    load_clip(path.parent, name="mine")
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match="altered"):
        load_clip(path.parent, name="mine")


def test_half_precision_is_that_of_what_is_computed(mlm: Path, clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / CONFIG).write_text(json.dumps(clip.config))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        tensors = {n: t.to(dtype) if t.is_floating_point() else t for n, t in clip.tensors().items()}
        save_file(tensors, tmp_path / "half" / "open_clip_model.safetensors")
        assert load_clip(tmp_path / "half", name="half").digest() == model_digest(tmp_path / "half")


def test_the_weights_of_version_0_1_are_verified(own: Path) -> None:
    """Its record has the SHA-256 of the weights, and nothing of the other files."""
    sha256 = subprocess.run(["sha256sum", own / "open_clip_model.safetensors"], capture_output=True, text=True)
    record = {"name": "mine", "source": "org/clip@1", "stand_in": False, "sha256": sha256.stdout.split()[0]}
    (own / "source.json").write_text(json.dumps(record))
    assert load_clip(own, name="mine").origin.kind == "published"
    edit(own / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="was altered since it was fetched") as caught:
        load_clip(own, name="mine")
    assert caught.value.hint == "mmcoa fetch mine --replace"


def test_what_to_type_depends_on_where_it_is_from(own: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcoa_cli.models.embedded.MLM_EPOCHS", 1)  # what it has learned is of no matter here
    fetch("tiny-mlm", home)
    folder = mlm_path("tiny-mlm", home)
    edit(folder / "config.json")
    with pytest.raises(UserError, match="altered") as caught:
        load_masked_lm(folder, name="tiny-mlm")
    assert caught.value.hint == "mmcoa fetch tiny-mlm --replace"
    assert fetch("tiny-mlm", home, replace=True).new
    assert load_masked_lm(folder, name="tiny-mlm").origin.kind == "stand-in"
    (own / "source.json").write_text(json.dumps({"source": "mmcoa pretrain on digits", "origin": "stand-in"}))
    assert "mmcoa pretrain --name lab" in fetch_again(own, "lab")
    epoch = own.rename(own.with_name("epoch-003"))
    assert fetch_again(epoch, "lab") == f"mmcoa train --resume {epoch.parent.name}"


def test_origins(own: Path, mlm: Path, home: Home, tmp_path: Path) -> None:
    """Own weights by their SHA-256; how version 0.1 wrote it is understood."""
    fetch("mine", home, source=own)
    loaded = load_clip(clip_path("mine", home), name="mine")
    digest = subprocess.run(["sha256sum", own / "open_clip_model.safetensors"], capture_output=True, text=True)
    assert (loaded.origin.kind, loaded.origin.sha256) == ("own", digest.stdout.split()[0])
    assert str(own) in loaded.origin.source
    fetch("words", home, source=mlm, kind=Kind.mlm)
    assert load_masked_lm(mlm_path("words", home), name="words").origin.kind == "own"
    for said, kind in (
        ({"source": "org/clip@1", "stand_in": False}, "published"),
        ({"source": "a local copy, birds", "stand_in": True}, "own"),
        ({"source": "mmcoa pretrain on digits", "stand_in": True}, "stand-in"),
        ({"source": "mmcoa, from sentences it writes", "stand_in": True}, "stand-in"),
    ):
        (own / "source.json").write_text(json.dumps(said))
        assert load_clip(own, name="old").origin.kind == kind
