"""The examples that a command's help ends with."""

from __future__ import annotations

from collections.abc import Mapping


def epilog(examples: Mapping[str, str]) -> str:
    """Commands, each with what it does as the comment of a shell, so that a line can be copied as it is."""
    lines = (f"[bold]{_plain(command)}[/]  [dim]# {_plain(does)}[/]" for command, does in examples.items())
    return "\n\n".join(lines)


def _plain(text: str) -> str:
    """A text in which rich finds no markup."""
    return text.replace("[", "\\[")
