"""Pictures in a terminal. A character is two pixels: an upper half block in the colour of one, on that of the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.table import Table
from rich.text import Text

SIDE = 20  # characters that a picture is wide; it is half as high
HALF = "▀"


def gallery(
    pictures: Sequence[npt.NDArray[np.uint8]], titles: Sequence[str], *, width: int, together: int = 1
) -> Table:
    """Lay out pictures, (S, S, 3), as many side by side as fit, each with its title below it, of one line or more. So
    many as belong `together` stand in one line, where there is room for them."""
    fitting = max(1, min(len(pictures), (width + 2) // (SIDE + 2)))
    fitting -= fitting % together if fitting > together else 0
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(fitting):
        grid.add_column(width=SIDE, no_wrap=True, overflow="ellipsis")
    for start in range(0, len(pictures), fitting):
        grid.add_row(*(picture(one) for one in pictures[start : start + fitting]))
        grid.add_row(*(_title(title) for title in titles[start : start + fitting]))
    return grid


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """The text, cut with an ellipsis until it fits; a percentage at its end stays."""
    if fits(text):
        return text
    head, space, share = text.rpartition(" ") if text.endswith("%") else (text, "", "")
    kept = next((n for n in range(min(len(head), 200), 0, -1) if fits(f"{head[:n]}…{space}{share}")), 1)
    return f"{head[:kept]}…{space}{share}"


def _title(text: str) -> Text:
    lines = [shortened(line, lambda cut: cell_len(cut) <= SIDE) for line in text.split("\n")]
    return Text("\n".join(lines), style="dim")


def picture(pixels: npt.NDArray[np.uint8]) -> Text:
    """Draw one picture in SIDE x SIDE / 2 characters."""
    kind = Image.Resampling.NEAREST if len(pixels) < SIDE else Image.Resampling.BOX
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), kind)).tolist()
    text = Text(no_wrap=True)
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append(HALF, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    text.rstrip()
    return text
