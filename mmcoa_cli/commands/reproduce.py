"""`mmcoa reproduce`: everything a table or figure of the paper needs."""

from __future__ import annotations

from typing import Annotated

import typer

from ..jobs import specs
from ..terminal import options as o

NAME = "reproduce"
EXAMPLES = (
    "[bold]mmcoa reproduce table1 --dry-run[/]  the plan: what is there, what is left, how long it takes here\n\n"
    "[bold]mmcoa reproduce table2 --preset quick --hours 2[/]  what this machine can do in two hours\n\n"
    "[bold]mmcoa reproduce table1 --preset quick --source digits --model tiny-clip --mlm tiny-mlm[/]  needs no network"
)


def command(
    name: Annotated[str, typer.Argument(help="table1, table2, table3, fig3 or fig4.", show_default=False)],
    preset: Annotated[
        str,
        typer.Option(
            help="paper: the paper's settings, missing datasets are fetched. quick: the datasets that are here, and the"
            " largest of ten sizes (training images a class, epochs, test images, attack steps) that takes --hours or"
            " less from the beginning; what is left out is said."
        ),
    ] = "paper",
    hours: Annotated[float, typer.Option(help="quick: what the whole may take, by a measurement of seconds.")] = 2.0,
    source: Annotated[
        str | None,
        typer.Option(
            help="Train on this dataset instead of the paper's; where that is not here, quick takes the one with the"
            " most classes.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The CLIP to start from.")] = specs.DEFAULT_MODEL,
    mlm: o.Mlm = specs.DEFAULT_MLM,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate; default: each method's in the paper. A stand-in wants more.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step and a block; default: the paper's.", show_default=False)
    ] = None,
    seed: o.Seed = 0,
    compat: o.Compat = "none",
    precision: o.Precision = "fp32",
    processes: o.Processes = 1,
    accelerate_config: o.AccelerateConfig = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and do nothing.")] = False,
    json: o.Json = False,
) -> None:
    """Train and test whatever a table or figure of the paper needs and is not there yet; then print it."""
    from ..plans import run
    from ..plans.order import Order

    order = Order(
        name, preset=preset, hours=hours, source=source, model=model, mlm=mlm, lr=lr, batch_size=batch_size, seed=seed,
        compat=compat, precision=precision, processes=processes,
        accelerate_config=accelerate_config.absolute() if accelerate_config else None,
    )  # fmt: skip
    run.reproduce(order, dry_run=dry_run, as_json=json)
