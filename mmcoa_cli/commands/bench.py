"""`mmcoa bench`: how fast this machine does what mmcoa does."""

from __future__ import annotations

from typing import Annotated

import typer

from ..bench.asked import PARTS, ROUNDS, Asked
from ..jobs.training_spec import DEFAULT_MLM, DEFAULT_MODEL
from ..terminal import choices as c
from ..terminal import literals
from ..terminal.given import given, refuse_unused
from . import known
from . import options as o

EXAMPLES = {
    "mmcoa bench --quick": "Measure everything once, in a minute or so",
    "mmcoa bench image text --compare last": "Measure some parts, beside the last time they were measured",
    "mmcoa bench image --model ViT-L-14 --batch-size 8": "Measure any architecture of open_clip, with random weights",
    "mmcoa bench text --classes 1000": "Measure the text attack on so many class prompts, however long that takes",
    "mmcoa bench --list": "List what was measured",
}

Parts = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"Measure these parts: {c.listed(lambda: PARTS)}.", show_default="all",
        **c.choice(lambda: PARTS, "[PART]..."),
    ),
]  # fmt: skip
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Measure this CLIP: one of the store, or any architecture of open_clip.",
        autocompletion=c.one(known.models),
    ),
]  # fmt: skip
Quick = Annotated[bool, typer.Option("--quick", help="Measure one round of little work: a rough picture.")]
Rounds = Annotated[int | None, typer.Option(metavar=o.N, help="Take the median of N rounds.", show_default=str(ROUNDS))]
BatchSize = Annotated[
    int | None, typer.Option(metavar=o.N, help="Take N images at a time.", show_default="8 or 2; 128 on a GPU")
]
Steps = Annotated[
    int | None, typer.Option(metavar=o.N, help="Take N steps in the image attack.", show_default="1 or 2; 10 on a GPU")
]
Classes = Annotated[
    c.Numbers | None,
    typer.Option(
        metavar="N,...", parser=c.numbers, show_default="10,100,1000, as far as it takes no minutes",
        help="Attack the prompts of N classes, with commas between them; images are attacked with the first N.",
    ),
]  # fmt: skip
Compare = Annotated[
    str | None,
    typer.Option(
        metavar="ID|FILE|last", show_default="none",
        help="Show the ratios beside those of an earlier bench: an id, a file of --json, or the last of the model.",
    ),
]  # fmt: skip
List = Annotated[bool, typer.Option("--list", help="List the benches in the index, and measure nothing.")]
Fast = Annotated[bool, typer.Option("--fast", help="Measure the image attack also as attacks with --fast compile it.")]
Precision = Annotated[literals.Precision, typer.Option(help="Run the encoders in this precision.")]


def command(
    context: typer.Context,
    parts: Parts = None,
    *,
    model: Model = DEFAULT_MODEL,
    quick: Quick = False,
    rounds: Rounds = None,
    batch_size: BatchSize = None,
    steps: Steps = None,
    classes: Classes = None,
    compare: Compare = None,
    list_: List = False,
    mlm: o.Mlm = DEFAULT_MLM,
    precision: Precision = "fp32",
    fast: Fast = False,
    json: o.Json = False,
) -> None:
    """Measure the speed of this machine: attacks, training, data, store and start, against what it could do, against
    the paper's released code, and against other libraries where they are installed."""
    from ..bench import verb

    if list_:
        refuse_unused(context, {*given(context)} - {"list_", "json"}, by="--list measures nothing")
        return verb.show_list(as_json=json)
    asked = Asked(
        tuple(dict.fromkeys(parts or PARTS)), model, mlm, rounds=rounds, batch_size=batch_size, steps=steps,
        classes=classes, precision=precision, quick=quick, fast=fast,
    )  # fmt: skip
    verb.bench(asked, compare=compare, as_json=json)
