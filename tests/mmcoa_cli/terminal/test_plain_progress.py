"""Progress in lines, by a clock that is given: what each line says, how far apart they are, and that they are plain."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from mmcoa_cli.terminal import console
from mmcoa_cli.terminal.durations import closely
from mmcoa_cli.terminal.plain_progress import EVERY, Heart, PlainProgress


@dataclass
class Said:
    """A clock that stands where it is set, and the lines with the time of each."""

    now: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def say(self, line: str) -> None:
        self.lines.append((self.now, line))

    @property
    def last(self) -> str:
        return self.lines[-1][1]

    def progress(self, total: int | None, unit: str = "images", done: int = 0) -> PlainProgress:
        return PlainProgress("image on digits", total, unit, self.say, done, self.clock)


def test_a_line_says_what_how_far_how_fast_and_how_long_still() -> None:
    said = Said()
    shown = said.progress(1000)
    shown.begin()
    assert said.last == "image on digits: 1,000 images"
    said.now = 40.0
    shown.reach(250, "loss 0.5")
    assert said.last == "image on digits: 250 of 1,000 images (25%), 6.2 images/s, 2 min left, loss 0.5"
    said.now = 160.0
    shown.reach(1000)
    shown.end()
    assert said.last == "image on digits: 1,000 images in 2 min 40 s, 6.2 images/s"


def test_what_was_done_before_does_not_count_in_the_rate() -> None:
    said = Said()
    shown = said.progress(1000, done=400)
    shown.begin()
    assert said.last == "image on digits: goes on at 400 of 1,000 images"
    said.now = 30.0
    shown.reach(700)
    assert said.last == "image on digits: 700 of 1,000 images (70%), 10 images/s, 30 s left"


def test_fast_work_is_told_twice() -> None:
    said = Said()
    shown = said.progress(1000)
    shown.begin()
    for done in range(1, 1001):
        said.now = done * 0.01
        shown.reach(done)
    shown.end()
    assert [line for _, line in said.lines] == [
        "image on digits: 1,000 images", "image on digits: 1,000 images in 10 s, 100 images/s"
    ]  # fmt: skip


def test_lines_are_at_most_thirty_seconds_apart_while_nothing_is_counted() -> None:
    """A step of the work takes ten minutes: the heart has the lines told."""
    said = Said()
    shown = said.progress(4)
    shown.begin()

    def wait(seconds: float) -> bool:
        said.now += seconds
        return said.now > 600

    Heart(shown.tell, wait).stop()
    times = [time for time, _ in said.lines]
    assert max(later - earlier for earlier, later in pairwise(times)) <= EVERY
    assert len(times) >= 20
    assert said.last == "image on digits: 0 of 4 images (0%)"


@pytest.mark.parametrize(
    ("total", "done", "line"),
    [(2_000_000, 1_000_000, "1.0 MB of 2.0 MB (50%), 20.0 kB/s, 50 s left"),
     (None, 1_000_000, "1.0 MB so far, 20.0 kB/s, 50 s")],
)  # fmt: skip
def test_bytes(total: int | None, done: int, line: str) -> None:
    said = Said()
    shown = said.progress(total, "bytes")
    said.now = 50.0
    shown.reach(done)
    assert said.last == f"image on digits: {line}"


def test_what_was_stopped_says_where() -> None:
    said = Said()
    shown = said.progress(1000)
    said.now = 12.0
    shown.reach(100)
    shown.end(whole=False)
    assert said.last == "image on digits: stopped at 100 of 1,000 images (10%), after 12 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (190, "3 min 10 s"),
     (3599, "59 min 59 s"), (3599.9, "1 h"), (3900, "1 h 5 min"),
     (7200, "2 h"), (36_000, "10 h"), (3 * 86400, "3 days")],
)  # fmt: skip
def test_a_time_told_closely(seconds: float, words: str) -> None:
    assert closely(seconds) == words


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What `err` writes into a file, with the variables of a coloured build log."""
    text = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(console, "err", console.Terminal(file=text, width=80))
    return text.getvalue


def test_a_log_holds_no_control_code_even_where_colours_are_forced(log: Callable[[], str]) -> None:
    with console.progress("image on digits", total=3, unit="images") as task:
        task.advance(3, note="loss 0.5")
    first, last = log().splitlines()
    assert first == "image on digits: 3 images" and last.startswith("image on digits: 3 images in ")
    assert not {"\x1b", "\r"} & set(log())


def test_an_error_ends_the_lines_too(log: Callable[[], str]) -> None:
    with pytest.raises(KeyError), console.progress("image on digits", total=3, unit="images") as task:
        task.advance(1)
        raise KeyError
    assert log().splitlines()[-1].startswith("image on digits: stopped at 1 of 3 images (33%), after ")


def test_quiet_work_says_nothing(log: Callable[[], str]) -> None:
    with console.progress("image on digits", total=3, unit="images", quiet=True) as task:
        task.advance(3)
    with console.waiting("downloading x"):
        pass
    assert [line.split(" in ")[0] for line in log().splitlines()] == ["downloading x: begun", "downloading x: done"]
