"""`multimodal`: the images of one attack against the prompts of another, each made on its own (Sep-Attack).

It needs no steps of its own: what `image` and `text` made is classified together.
"""

from __future__ import annotations

from .base import Attack

MULTIMODAL = Attack(
    "multimodal",
    title="the images of image, classified by the prompts of text",
    source="arXiv 2404.19287, Tables I and II",
    needs=("clean", "image", "text"),
    images_of="image",
    prompts_of="text",
    usual=True,
)
