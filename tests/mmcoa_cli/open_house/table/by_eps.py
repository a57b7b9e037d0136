"""A table of another package: how a model stands against image attacks of three radii."""

from __future__ import annotations

from mmcoa_cli import catalog
from mmcoa_cli.catalog.tables import TableRow

catalog.tables()["by-eps"] = TableRow(
    "by-eps",
    title="Robust accuracy by the radius of the attack",
    grid={
        "method": ["clip", "ft-standard"], "source": ["digits"], "shots": ["1"], "attack": ["image"],
        "eps": ["4/255", "16/255", "64/255"],
    },
    lines=("method", "shots"),
    columns="eps",
)  # fmt: skip
