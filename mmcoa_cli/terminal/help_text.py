"""What a command's help ends with, and printing it without what it does not use."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from ..loading import uncollected

UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}  # of what typer imports to print help


def epilog(examples: Mapping[str, str]) -> str:
    """Commands, each with what it does as the comment of a shell, so that a line can be copied as it is."""
    lines = (f"[bold]{_plain(command)}[/]  [dim]# {_plain(does)}[/]" for command, does in examples.items())
    return "\n\n".join(lines)


def _plain(text: str) -> str:
    """A text in which rich finds no markup."""
    return text.replace("[", "\\[")


@contextmanager
def quickly() -> Iterator[None]:
    """For a block that prints help: a parser of Markdown and the colours of tracebacks take longer to import than all
    else that typer prints it with, and stay away."""
    stand_ins = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    for name, module in stand_ins.items():
        setattr(module, UNUSED[name], object)
    with uncollected():
        sys.modules.update(stand_ins)
        try:
            import typer.rich_utils  # noqa: F401
        finally:
            for name in stand_ins:
                del sys.modules[name]
        yield
