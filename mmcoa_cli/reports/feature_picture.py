"""A feature map as a picture: a panel each, a colour a class, dots for clean images and crosses for attacked ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .figures import COLOURS, FONT, check_ending

if TYPE_CHECKING:
    from ..jobs.feature_map import FeatureMap

SIDE = 2.6  # inches of a panel
NAMED = len(COLOURS)  # classes that a legend names; more have colours of a scale


def draw_maps(maps: Sequence[FeatureMap], path: Path) -> None:
    """Draw the maps side by side into `path`, whole or not at all. Raises UserError for a file that is no picture."""
    check_ending(path)
    import matplotlib
    from matplotlib.figure import Figure

    from store.files import replacing

    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=(SIDE * len(maps), SIDE + 0.5), layout="constrained")
        for axes, one in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
            colours = _colours(len(one.class_names))
            for places, marker, size, told in ((one.clean, "o", 5, "clean"), (one.adversarial, "x", 7, one.attack)):
                shades = [colours[label] for label in one.labels]
                axes.scatter(*places.T, c=shades, marker=marker, s=size, linewidths=0.5, label=told)
            axes.set_title(f"{one.run}\n{one.dataset}, {len(one.labels)} images, mean cosine {one.mean_cosine:.3f}")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.legend(loc="best", frameon=False, handletextpad=0.2)
        with replacing(path) as partial:
            figure.savefig(partial, format=path.suffix[1:].lower(), dpi=200, metadata=_undated(path))


def _colours(count: int) -> list[str]:
    import matplotlib
    from matplotlib.colors import to_hex

    if count <= NAMED:
        return list(COLOURS[:count])
    scale = matplotlib.colormaps["turbo"]
    return [to_hex(scale(k / (count - 1))) for k in range(count)]


def _undated(path: Path) -> dict[str, None] | None:
    """No date, where a format would have one: the same map is the same file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
