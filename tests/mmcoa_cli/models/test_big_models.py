"""Published architectures by their names: how large they are, without memory for them."""

from __future__ import annotations

import open_clip
import pytest

from mmcoa_cli.models.architectures import shapes_of

SIZES = {  # millions of parameters, as open_clip's table of models has them
    "ViT-B-32": 151.28, "ViT-L-14": 427.62, "ViT-H-14": 986.11, "ViT-B-16-SigLIP": 203.16,
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_model_is_as_large_as_it_was_published(name: str) -> None:
    config = {"model_cfg": open_clip.get_model_config(name)}
    shapes = shapes_of(config, name=name)
    weights = 0
    for shape in shapes.values():
        size = 1
        for side in shape:
            size *= side
        weights += size
    assert weights / 1e6 == pytest.approx(SIZES[name], rel=0.001)
