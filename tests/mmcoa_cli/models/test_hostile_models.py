"""Models that lie, in every form: each ends in one line, soon, within bounded memory, and nothing of it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, CLIPConfig, CLIPModel

from mmcoa_cli.catalog import Kind
from mmcoa_cli.inventory import fetch
from mmcoa_cli.models.clip import load_clip
from mmcoa_cli.models.library import registered
from mmcoa_cli.models.masked_lm import load_masked_lm
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.errors import UserError

SECONDS, MEMORY = 20, 2**30
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4}
MODEL = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
PREPROCESS = {"size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

Tensors = dict[str, torch.Tensor]
Make = Callable[[Path, Tensors], Path]


class Evil:
    """A pickle that makes a file `ran` beside it when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.folder}/ran",)


def with_config(**changes: Any) -> Make:
    """A whole model, of whose configuration some is changed."""

    def make(folder: Path, tensors: Tensors) -> Path:
        save_file(tensors, folder / WEIGHTS)
        parts: dict[str, Any] = {**MODEL}
        model = parts | {key: {**parts[key], **v} if isinstance(v, dict) else v for key, v in changes.items()}
        (folder / CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS}))
        return folder

    return make


def config_text(text: str | bytes) -> Make:
    def make(folder: Path, tensors: Tensors) -> Path:
        save_file(tensors, folder / WEIGHTS)
        (folder / CONFIG).write_bytes(text.encode() if isinstance(text, str) else text)
        return folder

    return make


def with_file(name: str, content: Callable[[Path, Tensors], bytes]) -> Make:
    """A configuration that is right, and a file of weights that is not."""

    def make(folder: Path, tensors: Tensors) -> Path:
        (folder / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}))
        (folder / name).write_bytes(content(folder, tensors))
        return folder / name

    return make


def saved(change: Callable[[Path, Tensors], Any], **options: Any) -> Make:
    """What torch.save writes of something."""

    def content(folder: Path, tensors: Tensors) -> bytes:
        out = io.BytesIO()
        torch.save(change(folder, tensors), out, **options)
        return out.getvalue()

    return with_file("w.pt", content)


def safetensors(header: Any, *, length: int | None = None, data: bytes = b"") -> Make:
    """A safetensors file with a header of one's own, of which another length may be claimed."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    begin = struct.pack("<Q", len(text) if length is None else length)
    return with_file("w.safetensors", lambda *_: begin + text + data)


def pickled(data: bytes) -> Make:
    """An archive as torch.save writes it, around a pickle of one's own."""

    def content(folder: Path, tensors: Tensors) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("w/data.pkl", data)
            archive.writestr("w/data/0", b"\0" * 64)
        return out.getvalue()

    return with_file("w.pt", content)


def changed(**tensors: torch.Tensor) -> Make:
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return with_file("w.safetensors", lambda _, own: save({**own, **named}))


def damaged(change: Callable[[bytes], bytes], name: str = "w.safetensors") -> Make:
    def content(folder: Path, tensors: Tensors) -> bytes:
        out = io.BytesIO()
        torch.save(tensors, out)
        return change(save(tensors) if name.endswith("tensors") else out.getvalue())

    return with_file(name, content)


def bomb(folder: Path, tensors: Tensors) -> bytes:
    """An archive whose data.pkl is a gigabyte of nothing, compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"N" * 2**27)
    return out.getvalue()


def overlapping(folder: Path, tensors: Tensors) -> bytes:
    """A thousand entries of an archive that are the same bytes."""
    large = {str(i): torch.zeros(1000) for i in range(1000)}
    out, again = io.BytesIO(), io.BytesIO()
    torch.save(large, out)
    archive = zipfile.ZipFile(out)
    first = archive.getinfo("archive/data/0")
    with zipfile.ZipFile(again, "w") as other:
        other.writestr("archive/data.pkl", archive.read("archive/data.pkl"))
        other.writestr("archive/data/0", archive.read(first))
        one = other.getinfo("archive/data/0")
        for i in range(1, 1000):
            same = zipfile.ZipInfo(f"archive/data/{i}")
            same.header_offset, same.file_size, same.compress_size, same.CRC = (
                one.header_offset, one.file_size, one.compress_size, one.CRC,
            )  # fmt: skip
            other.filelist.append(same)
            other.NameToInfo[same.filename] = same
        other._didModify = True  # type: ignore[attr-defined]
    return again.getvalue()


def linked(make: Callable[[Path], None]) -> Make:
    def made(folder: Path, tensors: Tensors) -> Path:
        (folder / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}))
        make(folder)
        return folder

    return made


def nested_tuples() -> bytes:
    """A dictionary under a key whose hash takes 2^60 steps."""
    return b"\x80\x02}(" + b")" + b"\x86".join([b"2"] * 61)[:-1] + b"\x86" + b"K\x01u."


def unfolded(folder: Path, tensors: Tensors) -> Any:
    return {**tensors, "visual.proj": torch.zeros(1).expand(10**6, 10**6)}


def with_tokenizer(**config: Any) -> Make:
    """A CLIP that has a tokenizer of its own, whose configuration says something."""

    def make(folder: Path, tensors: Tensors) -> Path:
        with_config(text_cfg={"hf_tokenizer_name": "x"})(folder, tensors)
        (folder / "tokenizer.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        touch = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\nclass Evil: pass\n"
        (folder / "evil.py").write_text(touch)
        return folder

    return make


def text_tower(folder: Path, tensors: Tensors) -> Path:
    """A text encoder in a folder that has code: transformers would ask whether to run it."""
    tower = folder / "tower"
    tower.mkdir()
    touch = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\nclass Evil: pass\n"
    (tower / "evil.py").write_text(touch)
    (tower / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}))
    return with_config(text_cfg={"hf_model_name": str(tower)})(folder, tensors)


SHAPE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
CLIPS: dict[str, Make] = {
    "a pickle that runs something": saved(lambda folder, _: Evil(folder)),
    "beside the weights nothing else": saved(lambda folder, _: {"state_dict": Evil(folder)}),
    "the older form, running something": saved(lambda f, _: {"a": Evil(f)}, _use_new_zipfile_serialization=False),
    "a plain pickle that runs something": with_file("w.pt", lambda folder, _: pickle.dumps(Evil(folder))),
    "a pickle of protocol 0": with_file("w.bin", lambda folder, _: pickle.dumps(Evil(folder), protocol=0)),
    "a whole object without tensors": saved(lambda *_: {"lr": 1e-3}),
    "tensors without names": saved(lambda _, own: list(own.values())),
    "another model": saved(lambda *_: torch.nn.Linear(3, 4).state_dict()),
    "a tensor expanded to a terabyte": saved(unfolded),
    "a quantized tensor": saved(lambda *_: {"x": torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8)}),
    "complex numbers": saved(lambda _, own: {**own, "visual.proj": own["visual.proj"].to(torch.complex64)}),
    "an archive of a compressed gigabyte": with_file("w.pt", bomb),
    "entries of an archive that overlap": with_file("w.pt", overlapping),
    "a cut archive": damaged(lambda data: data[: len(data) // 2], "w.pt"),
    "an archive with a damaged directory": damaged(lambda data: data[:-60] + b"\xff" * 60, "w.pt"),
    "a zip archive of other things": with_file("w.pt", lambda *_: b"PK\x05\x06" + b"\0" * 18),
    "a pickle without an end": pickled(b"\x80\x02" + b"N" * 10**6),
    "a pickle of six million steps": pickled(b"\x80\x02" + b"]0" * 3 * 10**6 + b"N."),
    "a pickle that claims a terabyte of text": pickled(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"abc."),
    "a pickle that claims a terabyte of bytes": pickled(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."),
    "a pickle with a memory of four billion places": pickled(b"\x80\x02Nr\xff\xff\xff\xff."),
    "a pickle whose key takes for ever": pickled(nested_tuples()),
    "a pickle with numbers of a million digits": pickled(b"\x80\x02I" + b"9" * 10**6 + b"\n."),
    "a pickle that pops too much": pickled(b"\x80\x0200000."),
    "a pickle by extension codes": pickled(b"\x80\x02\x82\x01."),
    "a header of a quadrillion bytes": safetensors({}, length=10**15),
    "a header that is no JSON": safetensors(b"{not json}"),
    "a header a hundred thousand deep": safetensors(b'{"a":' + b"[" * 10**5),
    "a header that is no text": safetensors(b"{\xff\xfe}"),
    "a tensor twice": safetensors(b'{"a": %s, "a": %s}' % ((json.dumps(SHAPE).encode(),) * 2), data=b"\0" * 8),
    "a tensor behind the end": safetensors({"a": {**SHAPE, "data_offsets": [10**12, 10**12 + 8]}}),
    "a tensor of a negative size": safetensors({"a": {**SHAPE, "shape": [-2]}}, data=b"\0" * 8),
    "a tensor of texts": safetensors({"a": {**SHAPE, "shape": ["2"]}}, data=b"\0" * 8),
    "a tensor that overflows": safetensors({"a": {**SHAPE, "shape": [2**40, 2**40, 2**40]}}, data=b"\0" * 8),
    "a tensor of no known type": safetensors({"a": {**SHAPE, "dtype": "F4"}}, data=b"\0" * 8),
    "cut safetensors": damaged(lambda data: data[:-100]),
    "an empty file": damaged(lambda _: b""),
    "noise": damaged(lambda _: os.urandom(10_000)),
    "an HDF5 file": damaged(lambda _: b"\x89HDF\r\n\x1a\n" + b"\0" * 1000),
    "NaN in the weights": changed(visual__proj=torch.full((16, 16), torch.nan)),
    "infinity in the weights": changed(logit_scale=torch.tensor(torch.inf)),
    "a scale that is no number": changed(logit_scale=torch.ones(3)),
    "a weight of another shape": changed(visual__proj=torch.ones(2, 2)),
    "a weight too many": changed(extra=torch.ones(2)),
    "an encoder three million wide": with_config(embed_dim=3_000_000),
    "ten million layers": with_config(vision_cfg={"layers": 10**7}),
    "ten million layers of text": with_config(text_cfg={"layers": 10**7}),
    "ten million blocks of a ResNet": with_config(vision_cfg={"layers": [1, 10**7, 1, 1]}),
    "thousands of layers": with_config(text_cfg={"layers": 999}),
    "images a billion wide": with_config(vision_cfg={"image_size": 10**9}),
    "images of sine and cosine": with_config(vision_cfg={"image_size": 4000, "pos_embed_type": "sin_cos_2d"}),
    "texts a million long": with_config(text_cfg={"context_length": 10**6}),
    "a giant of timm": with_config(vision_cfg={"timm_model_name": "eva_giant_patch14_224", "image_size": 224}),
    "timm from the hub": with_config(vision_cfg={"timm_model_name": "hf-hub:org/evil"}),
    "timm from a folder": with_config(vision_cfg={"timm_model_name": "local-dir:/tmp"}),
    "a text encoder with code": text_tower,
    "a text encoder on the hub": with_config(text_cfg={"hf_model_name": "org/evil"}),
    "code that is trusted": with_config(text_cfg={"tokenizer_kwargs": {"trust_remote_code": True}}),
    "a vocabulary from elsewhere": with_config(text_cfg={"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}),
    "a tokenizer that draws words": with_config(text_cfg={"tokenizer_kwargs": {"reduction_mask": "random"}}),
    "a tokenizer with code": with_tokenizer(tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
    "a tokenizer elsewhere": with_tokenizer(tokenizer_class="BertTokenizer", tokenizer_file="/etc/passwd"),
    "a tokenizer that is none": with_tokenizer(tokenizer_class="BertTokenizer"),
    "a tokenizer that is missing": with_config(text_cfg={"hf_tokenizer_name": "google-bert/bert-base-uncased"}),
    "a rectangle": with_config(vision_cfg={"image_size": [8, 16]}),
    "a negative width": with_config(text_cfg={"width": -16}),
    "no heads": with_config(text_cfg={"heads": 0}),
    "a text for a number": with_config(embed_dim="16"),
    "NaN for a number": with_config(vision_cfg={"mlp_ratio": float("nan")}),
    "no patches": with_config(vision_cfg={"patch_size": 0}),
    "a list for an encoder": with_config(text_cfg=[1, 2]),
    "a configuration a hundred thousand deep": config_text("[" * 10**5),
    "a configuration that is no text": config_text(b"\xff\xfe\x00{"),
    "a configuration that is a list": config_text("[1]"),
    "an empty configuration": config_text(""),
    "weights that are a pipe": linked(lambda folder: os.mkfifo(folder / WEIGHTS)),
    "weights that are a device": linked(lambda folder: (folder / WEIGHTS).symlink_to("/dev/zero")),
    "weights that link to themselves": linked(lambda folder: (folder / WEIGHTS).symlink_to(folder / WEIGHTS)),
    "weights that are a folder": linked(lambda folder: (folder / WEIGHTS).mkdir()),
    "weights that are no weights": linked(lambda folder: (folder / WEIGHTS).symlink_to("/etc/passwd")),
}  # fmt: skip


def bert(**changes: Any) -> Make:
    """A masked LM, of whose configuration some is changed."""

    def make(folder: Path, tensors: Tensors) -> Path:
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "photo", "cat", "dog"]
        (folder / "vocab.txt").write_text("\n".join(words))
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        BertForMaskedLM(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)  # type: ignore[arg-type]
        touch = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\nclass Evil: pass\n"
        (folder / "evil.py").write_text(touch)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        return folder

    return make


def tokenizer_says(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def then(make: Make, change: Callable[[Path], object]) -> Make:
    def made(folder: Path, tensors: Tensors) -> Path:
        make(folder, tensors)
        change(folder)
        return folder

    return made


def of_transformers(text: dict[str, Any] | None = None, **changes: Any) -> Make:
    """A CLIP of transformers, of whose configuration some is changed."""

    def make(folder: Path, tensors: Tensors) -> Path:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
        words = {"vocab_size": 49408, "max_position_embeddings": 16, **sizes}
        vision = {"image_size": 8, "patch_size": 4, **sizes}
        CLIPModel(CLIPConfig(text_config=words, vision_config=vision, projection_dim=16)).save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config = {**config, "text_config": {**config["text_config"], **(text or {})}, **changes}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


TRANSFORMERS: dict[str, Make] = {
    "three million wide": of_transformers({"hidden_size": 3_000_000}),
    "ten million layers": of_transformers({"num_hidden_layers": 10**7}),
    "no heads": of_transformers({"num_attention_heads": 0}),
    "heads that do not divide": of_transformers({"num_attention_heads": 3}),
    "a text for a number": of_transformers({"hidden_size": "wide"}),
    "a text for the vocabulary": of_transformers({"vocab_size": "many"}),
    "an encoder that is a number": of_transformers(vision_config=3),
    "an embedding that is a list": of_transformers(projection_dim=[1]),
    "an embedding of another size": of_transformers(projection_dim=32),
    "an activation that is code": of_transformers({"hidden_act": "__import__('os')"}),
    "a tokenizer of another kind": then(
        of_transformers(), lambda f: (f / "tokenizer.json").write_text('{"model": {"vocab": [["a", 1.0]]}}')
    ),
    "a tokenizer that is damaged": then(
        of_transformers(), lambda f: (f / "tokenizer.json").write_text('{"model": {"vocab": 3, "merges": 3}}')
    ),
    "a preprocessor that is a list": then(
        of_transformers(), lambda f: (f / "preprocessor_config.json").write_text("[1]")
    ),
    "means that are texts": then(
        of_transformers(), lambda f: (f / "preprocessor_config.json").write_text('{"image_mean": ["a", "b", "c"]}')
    ),
    "weights in several files": then(
        of_transformers(), lambda f: (f / "model.safetensors.index.json").write_text("{}")
    ),
}


MLMS: dict[str, Make] = {
    "a model with code": bert(model_type="evil", auto_map={"AutoModelForMaskedLM": "evil.Evil"}),
    "a model of no known type": bert(model_type="nothing"),
    "a model whose type is a list": bert(model_type=["bert"]),
    "a kernel from the hub": bert(attn_implementation="org/evil"),
    "quantized weights": bert(quantization_config={"quant_method": "gptq"}),
    "three million wide": bert(hidden_size=3_000_000),
    "a vocabulary of a billion": bert(vocab_size=10**9),
    "ten million layers": bert(num_hidden_layers=10**7),
    "a billion labels": bert(num_labels=10**9),
    "negative sizes": bert(intermediate_size=-16),
    "a text for a number": bert(hidden_size="wide"),
    "an activation that is none": bert(hidden_act="__import__('os')"),
    "a vocabulary that is too small": bert(vocab_size=3),
    "weights of NaN": then(
        bert(), lambda folder: save_file({"x": torch.tensor(torch.nan)}, folder / "model.safetensors")
    ),
    "a pipe for weights": then(
        bert(), lambda f: ((f / "model.safetensors").unlink(), os.mkfifo(f / "model.safetensors"))
    ),
    "a pickle for weights": then(
        bert(), lambda f: ((f / "model.safetensors").unlink(), torch.save(Evil(f), f / "pytorch_model.bin"))
    ),
    "a configuration a hundred thousand deep": then(bert(), lambda f: (f / "config.json").write_text("[" * 10**5)),
    "no tokenizer": then(bert(), lambda f: [path.unlink() for path in (*f.glob("tok*"), *f.glob("voc*"))]),
    "a tokenizer with code": then(
        bert(), tokenizer_says(tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    ),
    "a tokenizer elsewhere": then(bert(), tokenizer_says(vocab_file="/etc/passwd")),
    "a tokenizer that is damaged": then(bert(), lambda f: (f / "tokenizer.json").write_text('{"model": 1}')),
    "a tokenizer that is no text": then(bert(), lambda f: (f / "tokenizer.json").write_bytes(b"\xff\xfe")),
}


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return new_clip({"model_cfg": MODEL}, name="small", seed=0).tensors()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail(f"it asked: {question}"))
    return Home(tmp_path / "home", "")


def attempt(make: Make, folder: Path, tensors: Mapping[str, torch.Tensor], home: Home, kind: Kind) -> None:
    """Fetch it: one line and a hint, in time, in memory, with nothing run and nothing left."""
    folder.mkdir()
    source = make(folder, dict(tensors))
    before, outside = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, everything(folder.parent)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        fetch("mine", home, source=source, kind=kind)
    assert time.process_time() - started < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
    assert not list(folder.rglob("ran"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700 and caught.value.hint
    assert "mmcoa fetch mine\n" not in f"{caught.value.hint}\n"  # no circle: the model is of this machine
    assert registered(home.clips) == registered(home.mlms) == []
    written = everything(folder.parent) - outside
    assert all(path.is_relative_to(home.root) for path in written)


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", CLIPS)
def test_a_hostile_clip_is_one_line(name: str, tmp_path: Path, home: Home, tensors: Tensors) -> None:
    attempt(CLIPS[name], tmp_path / "hostile", tensors, home, Kind.clip)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_hostile_clip_of_transformers_is_one_line(name: str, tmp_path: Path, home: Home, tensors: Tensors) -> None:
    attempt(TRANSFORMERS[name], tmp_path / "hostile", tensors, home, Kind.clip)


@pytest.mark.parametrize("name", MLMS)
def test_a_hostile_masked_lm_is_one_line(name: str, tmp_path: Path, home: Home, tensors: Tensors) -> None:
    attempt(MLMS[name], tmp_path / "hostile", tensors, home, Kind.mlm)


@pytest.mark.parametrize("name", [name for name in CLIPS if "pipe" not in name and "device" not in name])
def test_one_that_lies_in_the_store_is_not_loaded(name: str, tmp_path: Path, home: Home, tensors: Tensors) -> None:
    """A store from elsewhere: loading is as careful as fetching."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    CLIPS[name](folder, dict(tensors))
    started = time.process_time()
    if name not in FINITE:
        with pytest.raises(UserError):
            load_clip(folder, name="mine")
    assert time.process_time() - started < SECONDS
    assert not list(folder.rglob("ran"))


FINITE = ("NaN in the weights", "infinity in the weights")  # which only `fetch` looks for here


def test_what_is_right_is_taken(tmp_path: Path, home: Home, tensors: Tensors) -> None:
    """Else the tables above would show nothing."""
    (tmp_path / "clip").mkdir()
    assert fetch("mine", home, source=with_config()(tmp_path / "clip", tensors), kind=Kind.clip).new
    (tmp_path / "mlm").mkdir()
    assert fetch("mine", home, source=bert()(tmp_path / "mlm", tensors), kind=Kind.mlm).new
    assert load_masked_lm(home.mlms / "mine", name="mine").digest()
    (tmp_path / "transformers").mkdir()
    assert fetch("theirs", home, source=of_transformers()(tmp_path / "transformers", tensors)).new
    assert not list(tmp_path.rglob("ran"))
