"""The text attack on the prompts of K classes: seen for the first time, and with the masked LM's words in the store, as
for every model after the first; beside the released loop, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from .. import attacks
from ..attacks.base import Texts, settings_of
from ..attacks.text import TEXT
from ..models.masked_lm import MaskedLM
from ..models.stored_lm import AnyMaskedLM, StoredLM
from ..terminal.durations import duration
from .bench import Bench
from .floor import may_change, tokens_attacked
from .image import as_released
from .race import OURS, RELEASE, Entrant, Race, timed
from .release import BertAttack

KNOWN = "words known"
SHARE = 100  # of so many classes one is what the released loop is asked for in a round
ALLOWED = 60.0  # seconds that our rounds with one K may take where nobody asks for that K
MEDIUMS = (  # what stands for "photo", each in a round of its own: nothing that is kept of a text helps the next one
    "photo", "picture", "image", "drawing", "sketch", "print", "scan", "painting", "copy", "snapshot", "portrait",
    "poster", "model", "video", "statue", "shadow", "memory", "symbol", "logo", "map",
)  # fmt: skip


class Remembering(StoredLM):
    """A masked LM that is loaded, whose words are kept in `folder`, as one of the store keeps them."""

    def __init__(self, mlm: MaskedLM, folder: Path) -> None:
        self.name, self.memory, self.loaded = mlm.name, folder, mlm

    def digest(self) -> str:
        """One of the store has it in a file: it costs nothing."""
        return KNOWN


def races(bench: Bench) -> Iterator[Race]:
    """Each number of classes, as long as that takes no minutes."""
    seconds: float | None = None  # of ours, a class
    for number in bench.sized.classes:
        work = f"BERT-Attack, {number} classes"
        expected = (seconds or 0.0) * number * bench.sized.rounds
        if expected > ALLOWED and not bench.sized.forced:
            why = f"left out: it takes about {duration(expected)} here; --classes {number} measures it"
            yield Race("text", work, "class", [], left=[(OURS, why)])
            continue
        taken: list[float] = []
        yield _race(bench, work, number, taken)
        seconds = median(taken) / number if taken else None


def _race(bench: Bench, work: str, number: int, taken: list[float]) -> Race:
    flops = _flops(bench, number)
    again = partial(prompts_of, bench, number, mlm=Remembering(bench.mlm, bench.folder))
    return Race(
        "text", work, "class",
        [
            Entrant(OURS, partial(_ours, bench, number, taken), float(number)),
            Entrant(KNOWN, again, float(number), before=again),
            bench.machine.products(flops),
            Entrant(RELEASE, partial(_released, bench, number), float(len(sample(number, 0, 1)))),
        ],
        flops=flops,
    )  # fmt: skip


def _ours(bench: Bench, number: int, taken: list[float], turn: int) -> None:
    times = timed(lambda: prompts_of(bench, number, turn, mlm=bench.mlm), bench.machine.wait)
    shared = times.cpu / torch.get_num_threads()  # what it takes where nobody else computes
    taken.append(shared if bench.device.type == "cpu" else times.wall)


def prompts_of(bench: Bench, number: int, turn: int, *, mlm: AnyMaskedLM) -> list[str]:
    """The adversarial prompts, as `mmcoa evaluate` makes them."""
    make, names = attacks.lookup(TEXT.name).prompts, bench.names(number)
    assert make is not None
    settings = settings_of(TEXT, {})
    return make(Texts(bench.clip, bench.prompts(number, template=_template(turn)), names, settings, mlm))


def _released(bench: Bench, number: int, turn: int) -> list[str]:
    prompts = bench.prompts(number, template=_template(turn))
    attack = BertAttack(bench.mlm.model, bench.mlm.tokenizer).attack
    with as_released():
        return [attack(bench.release, [prompts[k]])[0] for k in sample(number, turn, bench.sized.rounds)]


def sample(number: int, turn: int, rounds: int) -> range:
    """One class of SHARE from all over the list, in each round another: one may take a quarter more time than the next,
    and those of one kind stand together."""
    step = min(number, SHARE)
    first = turn * step // rounds % step
    return range(first, first + number // step * step, step)


def _template(turn: int) -> str:
    return f"This is a {MEDIUMS[turn % len(MEDIUMS)]} of a {{}}"


def _flops(bench: Bench, number: int) -> float:
    """Of a class, at the least: the fewest tokens of CLIP, and each prompt once through the masked LM."""
    prompts = bench.prompts(number)
    return (bench.work.token * tokens_attacked(bench.clip, prompts) + _of_masked_lm(bench, prompts)) / number


@torch.no_grad()
def _of_masked_lm(bench: Bench, prompts: list[str]) -> float:
    """It reads every token; words are asked for where one may change."""
    tokenizer, text, taken = bench.mlm.tokenizer, prompts[0], list[int]()
    rows = tokenizer(prompts)["input_ids"]
    asked = sum(len(tokenizer.tokenize(word)) for text in prompts for word in text.split(" ") if may_change(word))
    for places in ([1], [1, 2]):
        with FlopCounterMode(display=False) as counter:
            bench.mlm.predict([text], max_tokens=None, k=1, at=[places])
        taken.append(counter.get_total_flops())
    of_one, of_two = taken
    an_answer = of_two - of_one
    return (of_one - an_answer) / len(rows[0]) * sum(map(len, rows)) + an_answer * asked
