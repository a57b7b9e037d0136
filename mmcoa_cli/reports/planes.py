"""Features in a plane as a picture: dots for clean images, crosses for attacked ones, a colour and a name a class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from store.datasets import Dataset
from store.errors import UserError
from store.examples import stored_set
from store.index import Index

from ..datasets.library import dataset_path
from ..settings import Home
from .pictures import examples_path
from .wording import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from store.schema import Result

# the look of every picture: colours that differ for all eyes, markers, and the sizes of text
COLOURS = ("#555555", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito, 2008
MARKERS = "osD^vPX"
FONT: Any = {
    "font.size": 7, "axes.labelsize": 7, "axes.titlesize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "svg.fonttype": "none", "svg.hashsalt": "mmcoa", "pdf.fonttype": 42, "axes.spines.top": False,
    "axes.spines.right": False, "text.parse_math": False,
}  # fmt: skip
NAMED = 12  # classes whose names stand in the picture
ROW = 1.75  # inches: a row of planes
LEGEND: dict[str, Any] = {"loc": "outside upper center", "ncols": 2, "frameon": False, "borderaxespad": 0.2}

Places = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Plane:
    """What an evaluation of features found: of the images in the plane their places before and under the attack (m, 2),
    labels and cosines (m,); `mean_cosine` is that of all `n` images."""

    run: str
    dataset: str
    attack: str
    n: int
    mean_cosine: float
    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    clean: Places
    adversarial: Places
    cosines: npt.NDArray[np.float32]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        names = ("clean", "adversarial", "cosines", "labels")
        told = ("run", "dataset", "attack", "n", "mean_cosine")
        arrays = {name: getattr(self, name).tolist() for name in names}
        return {**{name: getattr(self, name) for name in told}, **arrays}


Row = tuple[str, Sequence[Plane | None]]  # of a picture, with its label


def planes_of(results: Iterable[Result | None], home: Home) -> list[Plane | None]:
    """What lies in the store of each result; None where there is none, or not as it was."""
    return [_plane(one, home) if one else None for one in results]


def _plane(result: Result, home: Home) -> Plane | None:
    try:
        examples = stored_set(examples_path(result, home))
        shown = examples.values("shown")
        return Plane(
            result.run_id,
            result.dataset,
            result.attack,
            result.n,
            result.value,
            tuple(Dataset.info_of(dataset_path(result.dataset, home)).class_names),
            examples.columns("label")[shown],
            examples.values("clean_place"),
            examples.values("adversarial_place"),
            examples.columns("cosine")[shown],
        )
    except UserError:
        return None  # the number stands all the same


def draw_planes(picture: Any, rows: Sequence[Row]) -> float:
    """Draw rows, which have as many planes each; returns the height in inches."""
    every = picture.subplots(len(rows), max(len(planes) for _, planes in rows), squeeze=False)
    for (label, planes), row in zip(rows, every, strict=True):
        row[0].set_ylabel(plain(label))
        for axes, plane in zip(row, planes, strict=True):
            _draw(axes, plane)
    drawn = [axes for axes in every.flatten() if axes.collections]
    if drawn:
        picture.legend(*drawn[0].get_legend_handles_labels(), **LEGEND)
    return 0.35 + ROW * len(rows)


def of_evaluations(evaluations: Sequence[str], home: Home) -> list[Result]:
    """The index's results of these evaluations, each once."""
    index = Index(home.database_url)
    return [index.evaluation(one)[0] for one in dict.fromkeys(evaluations)]


def _draw(axes: Axes, plane: Plane | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    if plane is None:
        axes.text(0.5, 0.5, "not in this store", ha="center", va="center", transform=axes.transAxes)
        return
    scale = _colours(len(plane.class_names))
    shades = [scale[label] for label in plane.labels.tolist()]
    for places, marker, size, told in (
        (plane.clean, "o", 3.0, "clean"),
        (plane.adversarial, "x", 5.0, f"{plane.attack} attack"),
    ):
        axes.scatter(
            places[:, 0], places[:, 1], c=shades, marker=marker, s=size, linewidths=0.5, alpha=0.75, label=told,
            rasterized=True,  # small in a page, too
        )  # fmt: skip
    axes.set_title(f"{plain(plane.dataset)}, mean cosine {plane.mean_cosine:.3f}", fontsize=6, pad=2)
    if len(plane.class_names) <= NAMED:
        _name_classes(axes, plane, scale)


def _name_classes(axes: Axes, plane: Plane, scale: Sequence[str]) -> None:
    """Each class's name in the middle of its clean images: what colours alone would say to some."""
    from matplotlib.patheffects import withStroke

    for number, name in enumerate(plane.class_names):
        own = plane.clean[plane.labels == number]
        if len(own) and not math.isnan(float(own.sum())):
            x, y = np.median(own, axis=0)
            halo = [withStroke(linewidth=1.2, foreground="white")]
            axes.text(x, y, plain(name), color=scale[number], fontsize=4.5, ha="center", va="center", path_effects=halo)


def _colours(count: int) -> list[str]:
    import matplotlib
    from matplotlib.colors import to_hex

    if count <= len(COLOURS):
        return list(COLOURS[:count])
    scale = matplotlib.colormaps["turbo"]
    return [to_hex(scale(k / (count - 1))) for k in range(count)]
