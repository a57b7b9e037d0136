"""Models of another package whose gradients, or answers, are hidden: each a wrapper, as a defence at test time is."""

from __future__ import annotations

from typing import Any

from mmcoa_cli import catalog
from mmcoa_cli.catalog import MethodRow
from mmcoa_cli.models.victim import Victim
from mmcoa_cli.models.wrappers import WRAPPERS, WrapperRow


def add(name: str, **methods: Any) -> None:
    """Make known a wrapper that overrides these methods."""

    def build(victim: Victim, settings: Any) -> Any:
        from mmcoa_cli.models.victim import Wrapper

        return type(name, (Wrapper,), methods)(victim, settings)

    WRAPPERS[name] = WrapperRow(name, build, name)
    catalog.methods()[name] = MethodRow(name, title=name, wrapper=name)


def rounded(tensor: Any, levels: int) -> Any:
    return (tensor * levels).round() / levels


def drawn(self: Any, images: Any) -> Any:
    import torch

    return (images + 0.2 * torch.randn_like(images)).clamp(0, 1)


add("squeezed", scale=property(lambda self: self.inner.scale * 1e-3))
add("saturated", scale=property(lambda self: self.inner.scale * 1e3))
add("rounded-logits", encode_images=lambda self, images: rounded(self.inner.encode_images(images), 100))
add("rounded-inputs", seen=lambda self, images: rounded(images, 15))
add("of-its-batch", seen=lambda self, images: (images - images.mean(dim=0) + 0.5).clamp(0, 1))
add("drawn", seen=drawn)
