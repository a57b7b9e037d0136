"""The defences: each is a loss over one training batch, in a file of its own that has `loss(step)`.

The `loss` of a catalog row is the name of such a file, or one that was registered. Importing this module loads no
loss: that happens when one is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .settings import SETTINGS

if TYPE_CHECKING:
    from torch import Tensor

    from .step import Step

Loss = Callable[["Step"], "Tensor"]
_REGISTERED: dict[str, Loss | str] = {}


def register(name: str, loss: Loss | str, *, settings: type[Any] | None = None) -> None:
    """Make a loss known: the function, or the name of a module that has it as `loss` and is imported when it is used.

    `settings` is a frozen dataclass of its own options; `step.settings` is one of them.
    """
    _REGISTERED[name] = loss
    if settings is not None:
        SETTINGS[name] = settings


def loss_of(name: str) -> Loss:
    """The loss of this name. Raises UserError where there is none."""
    found = _REGISTERED.get(name, f"{__name__}.{name}")
    if not isinstance(found, str):
        return found
    if name not in _REGISTERED and not (name.isidentifier() and find_spec(found)):
        raise UserError(f"there is no loss called {name!r}", hint="the plugin that has it is named by MMCOA_PLUGINS")
    loss: Loss = import_module(found).loss
    return loss


def settings_kind(name: str) -> type[Any] | None:
    """The dataclass of a loss's own options; None where it has none."""
    return SETTINGS.get(name)
