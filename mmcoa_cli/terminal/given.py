"""Refuse options that nothing would use, and options that are given twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from store.errors import UserError

from .help_text import quickly
from .on_demand import quick
from .options_file import read_from

UsageError: Any = typer.BadParameter.__base__  # click's, of which newer versions of typer have a copy
FILE = "DEFAULT_MAP"  # where an option is from that stands in a file (`options_file.py`), in click's words


class OnceEach(TyperCommand):
    """A command that takes each option once. (Typer takes the last of several values, and says nothing.)"""

    def get_params(self, ctx: Any) -> Any:
        return quick(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with quickly():
            super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer does it. Raises UserError for an option that is given twice."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        seen = set()
        for option in order:
            name, takes_one = str(option.name), isinstance(option, TyperOption) and not option.is_flag
            if takes_one and not option.multiple and name in seen:
                typed = max(option.opts, key=len)
                several = str(option.metavar).endswith(",...")  # as `choices.py` has it
                hint = f"once, with commas: {typed} A,B" if several else "give it once"
                raise UserError(f"{typed} is given twice", hint=hint)
            seen.add(name)
        words = [*args]
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:  # "Got unexpected extra argument(s)"
            if parts := _apart(words):
                error.message += f" Type several without a space between them: {''.join(parts)}"
            raise


def _apart(args: list[str]) -> list[str]:
    """The parts of the first list with spaces after its commas."""
    for start, word in enumerate(args):
        end = start
        while args[end].endswith(",") and len(args) > end + 1 and not args[end + 1].startswith("-"):
            end += 1
        if end > start and not word.startswith("-"):
            return args[start : end + 1]
    return []


def given(context: typer.Context, *, in_file: bool = True) -> list[str]:
    """Name the parameters that were typed, or stand in a file of options, in the order of --help."""
    return [name for name in context.params if _source(context, name) in ("COMMANDLINE", *([FILE] if in_file else []))]


def refuse_unused(context: typer.Context, unused: Iterable[str], *, by: str, hint: str = "leave it out") -> None:
    """Raises UserError that names the typed options among `unused`; `by` says what has no use for them."""
    found = [where(context, name) for name in given(context) if name in set(unused)]
    if found:
        raise UserError(f"{', '.join(found)} would be ignored: {by}", hint=hint)


def where(context: typer.Context, name: str) -> str:
    """The option as it is typed, with the file that it stands in, if any."""
    file = read_from(context)
    return f"{name} (in {file.path})" if file and _source(context, name) == FILE else typed_as(name)


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return source.name if source is not None else ""


def typed_as(name: str) -> str:
    """ "batch_size" as "--batch-size"."""
    return f"--{name.replace('_', '-')}"
