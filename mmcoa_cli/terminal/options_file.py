"""`--config FILE`: the options of a command from a TOML file, by their names; and such a file of options.

What is typed wins over what stands in the file. A value is read as the same text would be that was typed; of an option
that takes several, an array gives each. Names that the command does not have are those of `-o`, if it has that.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from store.errors import UserError
from store.printable import is_printable, visible

from ..names import meant

LARGEST = 64 << 10  # bytes
OTHERS = ("config", "help", "option")  # parameters that no file gives
TAKES = "one option a line, as in: epochs = 10"
KEY = "mmcoa.options_file"


@dataclass(frozen=True)
class OptionsFile:
    """What a file says: of the command's own options, as texts or True, and of others, which `-o` takes."""

    path: Path
    own: Mapping[str, str | bool] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)


def read_from(context: typer.Context) -> OptionsFile | None:
    """The file that the options of this command come from as well."""
    found: OptionsFile | None = context.meta.get(KEY)
    return found


def option(others: Callable[[], Iterable[str]]) -> Any:
    """What `--config` is annotated with; `others` are the names that `-o` takes."""

    def take(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            file = read(context, path, others())
            context.meta[KEY], context.default_map = file, dict(file.own)
        return path

    return typer.Option(
        "--config", metavar="FILE", is_eager=True, callback=take, show_default=False,
        help="Take options from this TOML file, by their names, those of -o too; several in an array. What is typed"
        " wins. `mmcoa runs RUN --toml` prints such a file.",
    )  # fmt: skip


def read(context: typer.Context, path: Path, others: Iterable[str]) -> OptionsFile:
    """The options in the file at `path`, of the command of `context` and of `others`.

    Raises UserError, which names the file and the option, for a name that neither has, and for a value of another type.
    """
    own = {one.name: one for one in context.command.params if one.name and one.name not in OTHERS}
    known, found, more = [*own, *others], dict[str, str | bool](), dict[str, str]()
    for key, value in _document(path).items():
        name = key.replace("-", "_")
        if name in found or name in more:
            raise UserError(f"{_of(path)}: {name} stands there twice, as {key} too", hint="give it once")
        if name in own:
            said = _said(path, key, value, own[name])
            found |= {name: _checked(path, key, said, own[name], context)} if said else {}
        elif name in known:
            more[name] = _text(path, key, value, several=True)
        else:
            hint = meant(name, known) or f"leave it out; {context.command_path} --help shows what there is"
            raise UserError(f"{_of(path)}: {visible(key)!r} is no option of this command", hint=hint)
    return OptionsFile(path, found, more)


def as_toml(options: Mapping[str, Any]) -> str:
    """A file of these options."""
    return "".join(f"{name} = {_written(value)}\n" for name, value in options.items())


def _document(path: Path) -> dict[str, Any]:
    """What stands in the file. Raises UserError for what is no TOML file, or a huge one."""
    if not path.is_file():  # a pipe or a device could go on for ever
        raise UserError(f"there is no file {_of(path)}", hint="mmcoa runs RUN --toml > run.toml makes one of a run")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{_of(path)} is too large for a file of options", hint=f"it takes at most {LARGEST:,} bytes")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else visible(str(error))
        raise UserError(f"{_of(path)} is no TOML file: {why}", hint=TAKES) from error


def _said(path: Path, key: str, value: Any, parameter: Any) -> str | bool:
    """What would be typed: a text, or True for a flag; empty for a flag that is false."""
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise UserError(f"{_of(path)}: {key} is no true or false", hint=f"{key} = true")
        return value
    return _text(path, key, value, several=str(parameter.metavar).endswith(",..."))  # as `choices.py` has it


def _text(path: Path, key: str, value: Any, *, several: bool) -> str:
    """A value as it is typed."""
    if isinstance(value, list) and not several:
        raise UserError(f"{_of(path)}: {key} takes one value, and not several", hint="leave out the brackets")
    parts = [_one(path, key, part) for part in (value if isinstance(value, list) else [value])]
    if not parts:
        raise UserError(f"{_of(path)}: {key} is empty", hint="leave it out, or give it a value")
    return ",".join(parts)


def _one(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        what = "a table" if isinstance(value, dict) else "an array" if isinstance(value, list) else "a date or a time"
        raise UserError(f"{_of(path)}: {visible(key)} is {what}, and no value of an option", hint=TAKES)
    if isinstance(value, str) and not is_printable(value):
        raise UserError(f"{_of(path)}: {key} has characters that do not print", hint=f"it is {visible(value)[:60]!r}")
    return str(value)


def _checked(path: Path, key: str, said: str | bool, parameter: Any, context: typer.Context) -> str | bool:
    """What is said, where the option takes it."""
    if said is True:
        return True
    try:
        parameter.process_value(context, said)
    except Exception as error:  # typer's usage errors, which name what was typed and no file
        why = getattr(error, "message", None)
        if why is None:
            raise
        what, takes = f"{key} = {str(said)[:60]!r}", parameter.metavar or "a value"
        raise UserError(f"{_of(path)}: {what}: {why}", hint=f"{key} takes {takes}") from error
    return said


def _of(path: Path) -> str:
    return visible(str(path))


def _written(value: Any) -> str:
    """A value in TOML. A text is what JSON makes of it: names print, and so no sign of theirs differs in the two."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if value is None:
        return '"none"'
    return json.dumps(value, ensure_ascii=False)
