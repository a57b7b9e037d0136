"""The look of every picture: colours that differ for all eyes, markers, and the sizes of text."""

from __future__ import annotations

from typing import Any

COLOURS = ("#555555", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito, 2008
MARKERS = "osD^vPX"
FONT: Any = {
    "font.size": 7, "axes.labelsize": 7, "axes.titlesize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "svg.fonttype": "none", "svg.hashsalt": "mmcoa", "pdf.fonttype": 42, "axes.spines.top": False,
    "axes.spines.right": False, "text.parse_math": False,
}  # fmt: skip
