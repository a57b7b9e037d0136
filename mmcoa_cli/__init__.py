"""mmcoa: the adversarial robustness of vision-language models, from the command line and from Python (`api.py`).

    import mmcoa_cli as mmcoa

Importing this package imports no torch; the names of `api.py` do, when they are used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Attacked, Model, UserError, attack, evaluate, load, results

__version__ = "0.1.0"

# Threads of OpenMP that wait by spinning make small models ten times slower wherever another program wants the cores.
# It has to be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["Attacked", "Model", "UserError", "attack", "evaluate", "load", "results"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
