"""A race: the same piece of work as several do it, in turns, timed by two clocks.

Speed is told as ratios within a round, because a machine that others use is slower at one moment than at the next.
Importing this module imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from ..terminal.errors import is_out_of_memory

OURS, FLOOR, RELEASE, FAST = "mmcoa", "floor", "release", "mmcoa --fast"
WARM_UP = -1  # the number of the round that is not counted
MANY = 3  # rounds


@dataclass(frozen=True)
class Times:
    """Seconds of a process, all its threads together, and those of the clock on the wall."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Entrant:
    """One way of doing the work. `run` does `units` of it in a round, whose number it is given; what it returns as
    `Times` counts instead of what is measured here. `before` makes ready what the clocks do not count."""

    who: str
    run: Callable[[int], object]
    units: float
    before: Callable[[int], object] = lambda number: None


@dataclass(frozen=True)
class Absent:
    """Who does not take part, and why."""

    part: str
    work: str
    who: str
    why: str


@dataclass(frozen=True)
class Race:
    """`work` is told by its settings too: only the same work can be compared. `flops` are those of a unit; `left` says
    who takes no part, and why; without `warm` the first round counts."""

    part: str
    work: str
    unit: str
    entrants: Sequence[Entrant]
    flops: float | None = None
    left: Sequence[tuple[str, str]] = ()
    warm: bool = True


@dataclass(frozen=True)
class Row:
    """What one of a race took for a unit of the work, in seconds: the median over the rounds, and the least and the
    greatest. `of_ours` and `of_floor` are medians of its ratios to those in the same round."""

    part: str
    work: str
    who: str
    unit: str
    seconds: float
    shortest: float
    longest: float
    cpu: float
    wall: float
    rounds: int
    of_ours: float | None
    of_floor: float | None
    flops: float | None


@dataclass
class Running:
    """A race under way: the times of its whole rounds, and who left it."""

    race: Race
    clock: str  # "cpu" or "wall": the one that counts
    wait: Callable[[], None]  # until the device has done what it was given
    rounds: list[dict[str, Times]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def run(self, rounds: int, on_step: Callable[[], None] = lambda: None) -> None:
        """So many rounds that count, each begun by another one, and before them, where the median is not that of many
        or the clock that of a device, one that warms up."""
        entrants = list(self.race.entrants)
        for number in range(WARM_UP if self._warms_up(rounds) else 0, rounds):
            shift = number % len(entrants)
            found = {one.who: self._times(one, number) for one in entrants[shift:] + entrants[:shift]}
            if number != WARM_UP:
                self.rounds.append({who: times for who, times in found.items() if times})
            on_step()

    def _warms_up(self, rounds: int) -> bool:
        """The first round takes longer than others; the median of several does not mind."""
        return self.race.warm and (rounds < MANY or self.clock == "wall")

    @property
    def absent(self) -> list[Absent]:
        why = {**dict(self.race.left), **self.left}
        return [Absent(self.race.part, self.race.work, who, said) for who, said in why.items()]

    def rows(self) -> list[Row]:
        """Of all that went through every round that counts; none before the first one is done."""
        if not self.rounds:
            return []
        return [self._row(one.who) for one in self.race.entrants if all(one.who in each for each in self.rounds)]

    def _times(self, one: Entrant, number: int) -> Times | None:
        """For a unit; None where it has left the race. What ours cannot do is an error, and what others cannot do is
        told."""
        if one.who in self.left:
            return None
        try:
            one.before(number)
            times = timed(lambda: one.run(number), self.wait)
        except Exception as error:
            if one.who in (OURS, FLOOR):
                raise
            self.left[one.who] = "out of memory" if is_out_of_memory(error) else f"failed ({_in_short(error)})"
            return None
        return Times(times.cpu / one.units, times.wall / one.units)

    def _row(self, who: str) -> Row:
        race, own = self.race, [self._counted(each[who]) for each in self.rounds]
        return Row(
            race.part, race.work, who, race.unit, median(own), min(own), max(own),
            median(each[who].cpu for each in self.rounds), median(each[who].wall for each in self.rounds),
            len(own), self._ratio(who, OURS), self._ratio(who, FLOOR), race.flops,
        )  # fmt: skip

    def _ratio(self, who: str, other: str) -> float | None:
        if not all(other in each for each in self.rounds):
            return None
        pairs = [(self._counted(each[who]), self._counted(each[other])) for each in self.rounds]
        return median(a / b for a, b in pairs) if all(b > 0 for _, b in pairs) else None

    def _counted(self, times: Times) -> float:
        return times.cpu if self.clock == "cpu" else times.wall


def timed(work: Callable[[], object], wait: Callable[[], None] = lambda: None) -> Times:
    """What `work` takes until `wait` returns; or the times that it returns itself."""
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wait()
    taken = Times(time.process_time() - cpu, time.perf_counter() - wall)
    return found if isinstance(found, Times) else taken


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:100]
