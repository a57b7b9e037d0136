"""One pass over the images serves every attack: the same bits as one attack at a time, however it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli import attacks
from mmcoa_cli.datasets import pixels
from mmcoa_cli.jobs import unfinished
from mmcoa_cli.jobs.evaluation import Maker, evaluate, waves
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import Trial, trials_of
from mmcoa_cli.models.load import load_base, load_mlm
from mmcoa_cli.models.victim import Wrapper
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

ALL = ("clean", "image", "text", "multimodal", "co-attack")
SPEC = evaluation_spec(
    "vit", ("digits",), ALL, mlm="mlm", eps="8/255", alpha="4/255", steps=2, limit=40, batch_size=16
)  # fmt: skip
Make = Callable[..., Maker]


class Failing(Wrapper):
    """A victim that fails when it has encoded images so many times with gradients, as the attacks on images do."""

    def __init__(self, inner: Any, error: Exception, after: int) -> None:
        super().__init__(inner)
        self.error, self.left = error, after

    def input_features(self, inputs: Tensor) -> Tensor:
        self.left -= inputs.requires_grad
        if inputs.requires_grad and self.left < 0:
            raise self.error
        return super().input_features(inputs)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def maker(new_home: Callable[[str], Home], accelerator: Accelerator) -> Make:
    """Of a trial in a store of its own, with a victim that fails after a while, where an error is given."""

    homes: dict[str, Home] = {}

    def make(folder: str, *, spec: EvaluationSpec = SPEC, error: Exception | None = None, after: int = 0) -> Maker:
        own = homes.get(folder) or homes.setdefault(folder, new_home(folder))
        (trial,) = trials_of(spec, find_subject(spec, own), own)
        victim = load_base("vit", own)
        return Maker(trial, accelerator, Failing(victim, error, after) if error else victim, load_mlm("mlm", own))

    return make


def checksums(trial: Trial) -> dict[str, str]:
    return {name: trial.examples(name).checksum for name in ALL if trial.examples(name).complete}


def test_all_attacks_at_once_make_the_same_bits(
    maker: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And read each image once, where one attack after the other reads it once an attack."""
    read: list[int] = []
    load = pixels.load_pixels

    def counted(*parts: Any) -> Any:
        read.append(len(parts[2]))
        return load(*parts)

    monkeypatch.setattr(pixels, "load_pixels", counted)
    alone = maker("alone")
    for name in ALL:
        alone.examples(name)
    assert sum(read) == 40 * len(ALL)
    read.clear()
    capsys.readouterr()
    together = maker("together")
    together.all(["multimodal", "co-attack"])
    assert read == [16, 16, 8]
    assert checksums(together.trial) == checksums(alone.trial) and len(checksums(alone.trial)) == len(ALL)
    assert set(together.seconds) == set(ALL)
    # 40 images, three of whose attacks are no steps, and two are of two
    assert "clean, image, text, multimodal, co-attack on digits: 280 steps in" in capsys.readouterr().err


@pytest.mark.parametrize("after", [1, 4, 9])
def test_what_was_interrupted_goes_on_to_the_same_bits(maker: Make, after: int) -> None:
    """In the middle of a block, when some attacks have it and others do not; then with blocks of another size."""
    stopped = maker("home", error=KeyboardInterrupt(), after=after)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        stopped.all(ALL)
    trial = stopped.trial
    lacking = {name: len(trial.examples(name).missing()) for name in ALL}
    assert lacking["clean"] <= lacking["image"] <= 3 and not checksums(trial)
    assert unfinished.command_for(trial.examples("image").key, trial.home)
    going_on = maker("home", spec=SPEC.changed(batch_size=10))
    going_on.all(ALL)
    whole = maker("whole")
    whole.all(ALL)
    assert checksums(going_on.trial) == checksums(whole.trial)
    assert not unfinished.command_for(trial.examples("image").key, trial.home)


def test_sets_of_other_blocks_are_made_in_passes_of_their_own(maker: Make) -> None:
    """Blocks of two sizes do not fit together: what was begun with one goes on with it."""
    begun = maker("home", spec=SPEC.changed(batch_size=7), error=KeyboardInterrupt())  # type: ignore[arg-type]
    begun.trial.examples("text").missing()
    later = maker("home")
    wanted = [attacks.lookup(name) for name in ALL]
    named = [[attack.name for attack in wave] for wave in waves(wanted, later.trial)]
    assert named == [["clean", "image"], ["text"], ["multimodal", "co-attack"]]
    later.all(ALL)
    whole = maker("whole")
    whole.all(ALL)
    prompts = [made.trial.examples("co-attack").texts("adversarial_prompts") for made in (later, whole)]
    assert later.trial.examples("text").block_size == 7 and prompts[0] == prompts[1]
    for name in ("clean", "image", "multimodal", "co-attack"):
        assert later.trial.examples(name).checksum == whole.trial.examples(name).checksum


def test_an_attack_that_fails_takes_along_what_needs_it(maker: Make, accelerator: Accelerator) -> None:
    failing = maker("home", error=UserError("no gradient", hint="another model"), after=0)
    with pytest.raises(UserError, match="no gradient"):
        failing.all(ALL)
    assert set(checksums(failing.trial)) == {"clean", "text"}
    home = failing.trial.home
    spec = SPEC.changed(attacks=ALL)
    assert len(evaluate([spec], find_subject(spec, home), home, accelerator)) == len(ALL)
    assert {row.attack for _, row in Index(home.database_url).results()} == set(ALL)
