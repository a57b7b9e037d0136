"""What an option may be: one of some rows of data, any name that rows complete, and several with commas between them.

Rows (methods, attacks, tables) are asked for when a word is typed, so that one which was registered later counts too.
Closed sets are in `literals.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer

from store.near import near

Rows = Callable[[], Iterable[str]]


class Several(tuple[Any, ...]):
    """What is typed with commas between it; of a kind below, whose names say what they hold."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


class Names(Several):
    """Names."""


class Numbers(Several):
    """Whole numbers."""


class Rates(Several):
    """Numbers."""


def names(text: str | Iterable[str]) -> Names:
    """ "a, b" as ("a", "b"); the names themselves where they are taken apart already. Raises a usage error for none."""
    found = Names(filter(None, (name.strip() for name in text.split(",")))) if isinstance(text, str) else Names(text)
    if not found:
        raise typer.BadParameter("a name is missing.")
    return found


def numbers(text: str | Iterable[int]) -> Numbers:
    """ "0,1,2" as (0, 1, 2), each once. Raises a usage error for what is no whole number."""
    return Numbers(_each(text, int, "no whole number") if isinstance(text, str) else text)


def rates(text: str | float | Iterable[float]) -> Rates:
    """ "1e-6,1e-5" as (1e-6, 1e-5), each once. Raises a usage error for what is no number."""
    return Rates(
        _each(text, float, "no number") if isinstance(text, str) else [text] if isinstance(text, float) else text
    )


def _each(text: str, number: Callable[[str], float], none: str) -> Iterable[float]:
    try:
        return dict.fromkeys(number(one) for one in names(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is {none}, nor several with commas between them.") from None


def keeping(text: str) -> str:
    """The text, in small letters. Raises a usage error for what is neither all, nor last, nor a number above 0."""
    word = text.lower()
    if word not in ("all", "last") and not (text.isdecimal() and int(text) > 0):
        raise typer.BadParameter(f"{text!r} is neither all, nor last, nor a number of epochs.")
    return word


def kept(text: str) -> int | None:
    """How many epochs that is; None for all."""
    return None if text == "all" else 1 if text == "last" else int(text)


def choice(rows: Rows, metavar: str) -> dict[str, Any]:
    """What `typer.Option` needs to take the name of one of `rows`."""

    def parse(text: str) -> str:
        return checked(text, rows())

    return {"parser": parse, "autocompletion": one(rows), "metavar": metavar}


def choices(rows: Rows, metavar: str) -> dict[str, Any]:
    """What `typer.Option` needs to take the names of several of `rows`."""

    def parse(text: str | Iterable[str]) -> Names:
        return Names(checked(name, rows()) for name in names(text))

    return {"parser": parse, "autocompletion": several(rows), "metavar": metavar}


def joined(rows: Rows, metavar: str) -> dict[str, Any]:
    """The same for an option that stays one text, its names with commas between them."""
    taken = choices(rows, metavar)
    return {**taken, "parser": lambda text: str(taken["parser"](text))}


def listed(rows: Rows) -> str:
    """The names of `rows` in a sentence."""
    return ", ".join(rows())


def checked(name: str, rows: Iterable[str]) -> str:
    """The one of `rows` that `name` is, in capitals or not. Raises a usage error, with the nearest of them, where it is
    none."""
    known = list(rows)
    alike = [name] if name in known else [one for one in known if one.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    close = near(name, known, most=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, known))}.{meant}")


def one(rows: Rows) -> Callable[[str], list[str]]:
    """A completion of one name. It never fails: a shell shows nothing of an error, and a person would wait for it."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in dict.fromkeys(rows()) if name.startswith(incomplete)]
        except Exception:
            return []

    return complete


def several(rows: Rows) -> Callable[[str], list[str]]:
    """A completion of the last of several names, which stand there once each."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        there = before.split(",")
        return [f"{before}{comma}{name}" for name in one(rows)(last) if name not in there]

    return complete
