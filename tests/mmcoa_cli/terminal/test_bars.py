"""In any width a bar keeps its numbers whole, above all the time that is left."""

from __future__ import annotations

import io

import pytest

from mmcoa_cli.terminal.bars import bars_on
from mmcoa_cli.terminal.console import Terminal

LONG = "12/16 clean, image, text, multimodal on oxfordpets"


def drawn(width: int) -> list[str]:
    """The lines of two bars, of which the first has 30 of 120 images after 30 seconds."""
    text, now = io.StringIO(), [0.0]
    bars = bars_on(Terminal(file=text, force_terminal=True, color_system=None, width=width), sized=True)
    bars.get_time = lambda: now[0]
    first = bars.add_task("1/16 tecoa on digits", total=120, note="epoch 1/5, loss 0.123", unit="images")
    bars.add_task(LONG, total=10, note="", unit="steps")
    for reached in (10, 20, 30):
        now[0] += 10.0
        bars.update(first, completed=reached)
    bars.console.print(bars.make_tasks_table(bars.tasks))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [120, 80, 60, 45])
def test_numbers_are_whole(width: int) -> None:
    first, second = drawn(width)
    assert {"25%", "1.0", "images/s", "01:30"} <= {*first.split()} and {"0%", "--:--"} <= {*second.split()}
    assert "1/16 tecoa" in first and "12/16 clean" in second
    assert ("epoch 1/5, loss 0.123" in first) == (width == 120)
    assert ("━" in first) == (width >= 80)
