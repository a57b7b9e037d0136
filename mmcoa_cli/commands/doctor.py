"""`mmcoa doctor`: what is wrong with this machine and store, or with a model's robust accuracy, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.choices import one
from ..terminal.given import given, refuse_unused
from . import known
from . import options as o

EXAMPLES = {
    "mmcoa doctor": "Use no network; end with exit code 1 where a check failed",
    "mmcoa doctor --checkpoint RUN": "See whether its robust accuracy looks false; end with exit code 0 either way",
}
OF_ATTACKS = ("norm", "eps", "alpha", "seed")


def command(
    context: typer.Context,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|MODEL", help="Look for gradient masking in this run or model.",
            autocompletion=one(known.checkpoints),
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Attack images of this dataset.", show_default="the run's own",
            autocompletion=one(known.datasets),
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar=o.N, help="Attack a class-balanced subset of N images.")] = 20,
    *,
    norm: o.Norm = "linf",
    eps: o.Eps = "1/255",
    alpha: o.Alpha = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Check this machine and this store, or with --checkpoint a model for gradient masking; say what to do."""
    from .. import health
    from ..settings import home
    from ..terminal.console import out, print_json

    if checkpoint is not None:
        from ..masking.examination import examine

        typed = {name: context.params[name] for name in given(context) if name in OF_ATTACKS}
        examined = examine(checkpoint, home(), dataset=dataset, limit=limit, **typed)
        return print_json(examined.document()) if json else out.print(examined.shown())
    refuse_unused(context, ("dataset", "limit", *OF_ATTACKS), by="there is no --checkpoint to attack")
    found = health.checks(home())
    error = health.verdict(found)
    if json:
        print_json({"ok": error is None, "checks": found})
    else:
        out.print(health.table(found))
    if error:
        raise error
