"""A CLIP as transformers writes it, by open_clip's names, and back: the same numbers, arranged otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .tensors import Weight

WHOLE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "logit_scale": "logit_scale",
}
TURNED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
PARTS = {
    "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
QKV = ("q_proj", "k_proj", "v_proj")
BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)")  # in_proj_weight is one name
JOINED = "attn.in_proj"


def is_transformers(names: Mapping[str, Weight]) -> bool:
    """Whether tensors have the names that transformers gives those of a CLIP, or of one of its encoders."""
    return any(name.startswith(("vision_model.", "text_model.")) for name in names)


def as_open_clip(tensors: Mapping[str, Weight]) -> dict[str, Weight]:
    """The tensors by open_clip's names; what is none of a CLIP keeps its name."""
    found: dict[str, Weight] = {}
    attention: dict[str, dict[str, Weight]] = {}
    for name, weight in tensors.items():
        norm, _, kind = name.rpartition(".")
        layer = LAYER.fullmatch(name)
        if name in WHOLE:
            found[WHOLE[name]] = weight
        elif name in TURNED:
            found[TURNED[name]] = Weight(weight.shape[::-1], weight.dtype, _turned(weight))
        elif norm in NORMS:
            found[f"{NORMS[norm]}.{kind}"] = weight
        elif layer is None or layer[3] not in (*PARTS, *(f"self_attn.{part}" for part in QKV)):
            found[name] = weight
        else:
            block = f"{'visual.' if layer[1] == 'vision' else ''}transformer.resblocks.{int(layer[2])}"
            if layer[3] in PARTS:
                found[f"{block}.{PARTS[layer[3]]}.{layer[4]}"] = weight
            else:
                parts = attention.setdefault(f"{block}.attn.in_proj_{layer[4]}", {})
                parts[layer[3].removeprefix("self_attn.")] = weight
    return found | {name: _joined(parts) for name, parts in attention.items() if len(parts) == len(QKV)}


def as_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an open_clip CLIP by transformers' names: what `as_open_clip` undoes. What has none there is left
    out."""
    whole, turned, norms, parts = (
        {ours: theirs for theirs, ours in of.items()} for of in (WHOLE, TURNED, NORMS, PARTS)
    )
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        norm, _, kind = name.rpartition(".")
        block = BLOCK.fullmatch(name)
        if name in whole:
            found[whole[name]] = tensor
        elif name in turned:
            found[turned[name]] = tensor.T.contiguous()
        elif norm in norms:
            found[f"{norms[norm]}.{kind}"] = tensor
        elif block:
            layer = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}"
            if block[3] == JOINED:
                three = zip(QKV, tensor.chunk(len(QKV)), strict=True)
                found |= {f"{layer}.self_attn.{part}.{block[4]}": of.contiguous() for part, of in three}
            elif block[3] in parts:
                found[f"{layer}.{parts[block[3]]}.{block[4]}"] = tensor
    return found


def _joined(parts: Mapping[str, Weight]) -> Weight:
    three = [parts[part] for part in QKV]
    rows = sum(weight.shape[0] for weight in three if weight.shape)
    return Weight((rows, *three[0].shape[1:]), three[0].dtype, lambda: torch.cat([weight.read() for weight in three]))


def _turned(weight: Weight) -> Callable[[], Tensor]:
    return lambda: weight.read().T.contiguous()
