"""`mmcoa push`: a run's model onto the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from . import handing as h
from . import output as o

EXAMPLES = {
    "mmcoa push RUN mylab/clip-mmcoa --dry-run": "Show what would be sent, and the card",
    "mmcoa push RUN mylab/clip-mmcoa --license mit --private": "Send it, for nobody else to see yet",
}

Repository = Annotated[str, typer.Argument(metavar="ORG/NAME", help="Send it to this repository of the hub.")]
Private = Annotated[bool, typer.Option("--private", help="Make the repository, if it is new, for nobody else to see.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]


def command(
    run: h.Handed, repository: Repository, to: h.To = "open_clip", *, epoch: h.Epoch = None, license: h.Licence = "",
    private: Private = False, dry_run: DryRun = False, json: o.Json = False,
) -> None:  # fmt: skip
    """Send a run's model to the Hugging Face hub, with a card and its results."""
    from ..settings import home
    from ..sharing import hub
    from ..sharing.layouts import LAYOUTS
    from ..terminal.console import print_json, show

    hub.require_name(repository)
    if not dry_run:
        hub.require_open(repository, instead=f"mmcoa export {run} PATH")
    from ..sharing.handed import find  # only now is it worth the time

    handed = find(run, home(), epoch=epoch)
    sent = hub.push(handed, LAYOUTS[to], repository, licence=license, private=private, dry_run=dry_run)
    if json:
        print_json({"run": handed.run.id, "to": to, "repository": repository, **vars(sent)})
        return
    for file, size in sent.files.items():
        show(f"{file}  {size:,} bytes")
    for line in ["", *sent.card.splitlines()] if dry_run else [sent.address]:
        show(line, whole=True)
