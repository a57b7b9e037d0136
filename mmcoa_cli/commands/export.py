"""`mmcoa export`: a run's model as a folder that other libraries load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import handing as h
from . import output as o

EXAMPLES = {
    "mmcoa export RUN robust-clip": "Write a folder that open_clip.create_model('local-dir:robust-clip') loads",
    "mmcoa export RUN robust-clip --to transformers": "Write a CLIPModel and its CLIPProcessor",
    "mmcoa export RUN robust-clip --epoch 5": "Write the run as it was after its fifth epoch",
}

Target = Annotated[Path, typer.Argument(metavar="PATH", help="Make this folder.")]


def command(
    run: h.Handed, path: Target, to: h.To = "open_clip", *, epoch: h.Epoch = None, license: h.Licence = "",
    json: o.Json = False,
) -> None:  # fmt: skip
    """Write a run's model, with a card and its results, for use without mmcoa."""
    from ..settings import home
    from ..sharing.layouts import LAYOUTS
    from ..terminal.checks import require_new
    from ..terminal.console import print_json, show

    require_new(path)
    from ..sharing.exporting import export  # what was typed is right: only now is it worth the time
    from ..sharing.handed import find

    handed = find(run, home(), epoch=epoch)
    files = export(handed, LAYOUTS[to], path, licence=license)
    if json:
        print_json({"run": handed.run.id, "to": to, "path": str(path), "files": [str(file) for file in files]})
        return
    for file in files:
        show(str(file))
