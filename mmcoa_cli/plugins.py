"""Attacks, defences, wrappers, tasks and tables of other packages: MMCOA_PLUGINS names the modules that register them.

A module is imported before the command line is built, and in every worker. It has a line for each thing that it adds:
`attacks.register(...)`, `defences.register(...)`, `tasks.register(...)`, `WRAPPERS[...] = ...` of models.wrappers,
`catalog.methods()[...] = ...`, `catalog.tables()[...] = ...`.
"""

from __future__ import annotations

import os
from importlib import import_module

from store.errors import UserError

VARIABLE = "MMCOA_PLUGINS"


def load() -> None:
    """Import them. Raises UserError for one that cannot be imported."""
    for name in filter(None, (part.strip() for part in os.environ.get(VARIABLE, "").split(","))):
        try:
            import_module(name)
        except Exception as error:  # a plugin is anybody's code: whatever it raises, it is what does not work
            hint = f"put its folder into PYTHONPATH, or leave {name} out of {VARIABLE}"
            raise UserError(f"the plugin {name} cannot be imported: {error}", hint=hint) from error
