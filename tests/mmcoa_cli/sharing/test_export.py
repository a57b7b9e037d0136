"""What is exported loads elsewhere: the code of the card runs without mmcoa, and gives the logits of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from ready import Server, Started
from transformers import CLIPModel, CLIPProcessor

from mmcoa_cli.app import app
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.digests import model_digest
from mmcoa_cli.models.epochs import path_of
from mmcoa_cli.models.library import clip_path, fetch_clip
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.runs import run_of, weights_of
from mmcoa_cli.models.to_transformers import config_of, save_transformers, unsaid
from mmcoa_cli.settings import Home
from mmcoa_cli.sharing.exporting import export
from mmcoa_cli.sharing.handed import find
from mmcoa_cli.sharing.layouts import LAYOUTS
from store.errors import UserError
from store.index import Index

from ..conftest import RESNET, TEXT, VIT

TEXTS = ["a photo of a cat", "It's a NAÏVE  drawing, of 12 dogs!", "a" * 90]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def logits_of(clip: Clip, picture: Path, texts: list[str]) -> torch.Tensor:
    """The logits of an image of the encoder's own size, as a test of mmcoa computes them."""
    pixels = open_clip.transform.ToTensor()(Image.open(picture).convert("RGB"))[None]
    with torch.no_grad():
        return clip.scale * clip.encode_images(pixels) @ clip.embed_texts(texts).T


@pytest.fixture
def printed(server: Callable[[], Server]) -> Callable[[Path], torch.Tensor]:
    """What the code of the card in a folder prints, without the softmax, beside that folder."""

    def run(folder: Path) -> torch.Tensor:
        (code,) = CODE.findall((folder / "README.md").read_text(encoding="utf8"))
        assert "mmcoa" not in code and len(code.splitlines()) <= 11
        script = folder.parent / "script.py"
        script.write_text(code.replace(".softmax(dim=-1))", ".tolist())"), encoding="utf8")
        env = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        out, err = (process := Started(server(), [], env, folder.parent, script=str(script))).communicate(timeout=300)
        assert process.returncode == 0, err
        return torch.tensor(json.loads(out))

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("epoch", [None, 1])
def test_the_code_of_the_card_gives_the_logits_of_the_run(
    home: Home, run: str, picture: Path, tmp_path: Path, printed: Callable[[Path], torch.Tensor], layout: str,
    epoch: int | None,
) -> None:  # fmt: skip
    handed = find(run, home, epoch=epoch)
    folder = tmp_path / "robust-clip"
    files = export(handed, LAYOUTS[layout], folder)
    assert {path.name for path in files} >= {"README.md"} and all(path.is_relative_to(folder) for path in files)
    expected = logits_of(handed.clip, picture, ["This is a photo of a zero", "This is a photo of a one"])
    torch.testing.assert_close(printed(folder), expected, rtol=0, atol=1e-5)
    other = load_subject(run_of(run, home, Index(home.database_url)), home, epoch=None if epoch else 1)
    assert not torch.allclose(logits_of(other.clip, picture, ["a zero", "a one"]), expected, atol=1e-3)


@pytest.mark.parametrize("quick", [True, False])
def test_transformers_computes_the_same(tmp_path: Path, picture: Path, quick: bool) -> None:
    """Both activations, other statistics than OpenAI's, another scale and MLP; texts cut, mended and padded."""
    config = {
        **VIT, "quick_gelu": quick, "vision_cfg": {**VIT["vision_cfg"], "image_size": 8, "mlp_ratio": 3.0},  # type: ignore[dict-item]
        "text_cfg": {**TEXT, "norm_kwargs": {"eps": 1e-4}},
    }  # fmt: skip
    clip = new_clip(config, name="vit", seed=3)
    clip.config["preprocess_cfg"] = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    clip.mean.copy_(torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))
    clip.std.copy_(torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1))
    with torch.no_grad():
        clip.model.logit_scale.fill_(4.2)
    save_transformers(clip, tmp_path)
    model, processor = CLIPModel.from_pretrained(tmp_path), CLIPProcessor.from_pretrained(tmp_path)
    inputs = processor(
        text=TEXTS, images=Image.open(picture), return_tensors="pt", padding=True, truncation=True
    )  # fmt: skip
    with torch.no_grad():
        found = model(**inputs).logits_per_image
    cosines = logits_of(clip, picture, TEXTS) / clip.scale  # their last bits are another CPU's others
    torch.testing.assert_close(found / clip.scale, cosines, rtol=0, atol=1e-6)


def test_what_is_exported_is_taken_again_bit_for_bit(home: Home, run: str, tmp_path: Path) -> None:
    handed = find(run, home)
    weights = weights_of(handed.run, home)
    for layout in LAYOUTS.values():
        export(handed, layout, tmp_path / layout.name)
        fetch_clip(f"from-{layout.name}", home, source=tmp_path / layout.name)
        found = load_subject(run_of(f"from-{layout.name}", home, Index(home.database_url)), home).tensors()
        assert all(tensor.equal(found[name]) for name, tensor in handed.clip.tensors().items())
    assert model_digest(clip_path("from-open_clip", home)) == weights


def test_a_checkpoint_folder_loads_as_the_readme_says(home: Home, run: str) -> None:
    found = run_of(run, home, Index(home.database_url))
    for epoch in (1, 2):
        folder = path_of(home.checkpoints / run, epoch)
        model = open_clip.create_model(f"local-dir:{folder}")
        own = load_subject(found, home, epoch=epoch).tensors()
        assert all(tensor.equal(own[name]) for name, tensor in model.state_dict().items())


def test_every_open_clip_vit_with_openais_text_encoder_has_a_place() -> None:
    """And every other architecture is told by what it has, before anything is written."""
    told = {name: unsaid({"model_cfg": open_clip.get_model_config(name)}) for name in open_clip.list_models()}
    there = {name for name, reason in told.items() if not reason}
    assert {"ViT-B-32", "ViT-B-32-quickgelu", "ViT-L-14-336", "ViT-H-14", "ViT-bigG-14"} <= there
    assert not any(part in name for name in there for part in ("RN", "EVA", "SigLIP", "coca", "convnext", "roberta"))
    assert told["RN50"] == "a ResNet as image encoder"
    assert told["EVA02-B-16"] == "timm's image encoder eva02_base_patch16_clip_224"
    assert told["roberta-ViT-B-32"] == "the text encoder roberta-base"
    large = config_of({"model_cfg": open_clip.get_model_config("ViT-L-14-336-quickgelu")})
    # as openai/clip-vit-large-patch14-336 has it
    assert (large["projection_dim"], large["vision_config"]["num_attention_heads"]) == (768, 16)
    assert large["vision_config"]["intermediate_size"] == 4096 and large["vision_config"]["image_size"] == 336
    assert large["text_config"]["hidden_size"] == 768 and large["text_config"]["hidden_act"] == "quick_gelu"


def test_what_transformers_has_no_place_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no place for a ResNet as image encoder, which rn has") as caught:
        save_transformers(new_clip(RESNET, name="rn", seed=0), tmp_path)
    assert caught.value.hint == "--to open_clip" and not list(tmp_path.iterdir())
    clip = new_clip(VIT, name="vit", seed=0)
    for part, said, reason in (
        ("vision_cfg", {"pool_type": "avg"}, "pool_type avg"), ("text_cfg", {"embed_cls": True}, "embed_cls True"),
        ("text_cfg", {"hf_tokenizer_name": "org/words"}, "the tokenizer org/words"),
    ):  # fmt: skip
        model = clip.config["model_cfg"]
        assert unsaid({"model_cfg": {**model, part: {**model[part], **said}}}) == reason
    assert unsaid({**clip.config, "preprocess_cfg": {"resize_mode": "squash"}}) == "resize_mode squash"


def test_a_prompt_is_no_clip_of_itself(home: Home) -> None:
    from mmcoa_cli.jobs import launch
    from mmcoa_cli.jobs.job import Job
    from mmcoa_cli.jobs.training_spec import train_spec

    spec = train_spec("vp", dataset="digits", shots="2", model="vit", epochs=1, batch_size=10, steps=1)
    run = launch.run(Job(spec)).run
    with pytest.raises(UserError, match=f"{run} is something around vit .*it cannot be handed on") as caught:
        find(run, home)
    assert "mmcoa export vit" in caught.value.hint and f"mmcoa.load('{run}')" in caught.value.hint


def test_nothing_is_written_over(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf8")
    with pytest.raises(UserError, match="mine is not empty") as caught:
        app(["export", "vit", str(tmp_path / "mine")], standalone_mode=False)
    assert caught.value.hint == "name a folder that is not there yet"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    app(["export", "vit", str(tmp_path / "empty"), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["to"]) == ("clip-vit", "open_clip")
    assert {Path(file).name for file in told["files"]} == {
        "README.md", "open_clip_config.json", "open_clip_model.safetensors"
    }  # fmt: skip
