"""Radii and step sizes: the number in a text like "1/255", and the one text that a number has everywhere.

The same number is the same attack, so it has one form in keys, in the index and in tables: k/255 where that is a whole
level of a pixel, else a short decimal, a short decimal of 1/255, or the fraction in lowest terms. Numbers are the same
where they are the same double, the precision that an attack has its bounds in.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from store.errors import UserError

LEVELS = 255
LONGEST = 60  # characters
LEAST, MOST = Fraction(1, 10**7), 10**4  # below, float32 pixels cannot tell; above, no image is so long a vector
PLACES = 4  # decimals of a short decimal
DENOMINATOR = 10**6  # of the fractions among which a decimal's own is looked for: 0.00392156862745098 is 1/255
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def radius(text: str, option: str = "--eps") -> float:
    """ "1/255", "0.5/255" or "0.01" as a number. Raises UserError for what is none, and for what no attack can use."""
    return float(_checked(text, option))


def canonical(text: str, option: str = "--eps") -> str:
    """The form of this number: "2/510" is "1/255", "4/256" is "1/64". Raises UserError as `radius` does."""
    return written(_checked(text, option))


def share_of(eps: str, steps: int, *, times: Fraction) -> str:
    """So many times eps / steps, as a step size. Raises UserError as `radius` does."""
    return written(fraction(canonical(eps)) * times / max(steps, 1))


def canonical_or_same(text: Any) -> Any:
    """The form of this number; what is none, as an index from elsewhere may have it, stays as it is."""
    try:
        return canonical(text) if isinstance(text, str) else text
    except UserError:
        return text


def fraction(text: str) -> Fraction:
    """The number as a fraction. Raises ValueError or ArithmeticError for what is none."""
    above, slash, below = (part.strip() for part in text.partition("/"))
    if len(text) > LONGEST or not _DECIMAL.fullmatch(above) or (slash and not _DECIMAL.fullmatch(below)):
        raise ValueError
    exact = Fraction(above) / Fraction(below or 1)
    simple = exact.limit_denominator(DENOMINATOR)
    return simple if float(simple) == float(exact) else exact


@lru_cache(maxsize=1024)
def written(number: Fraction) -> str:
    """The form of `number`."""
    levels = number * LEVELS
    if number < 1 and levels.denominator == 1:
        return f"{levels}/{LEVELS}"
    if _short_decimal(number):
        return _short_decimal(number)
    if _short_decimal(levels):
        return f"{_short_decimal(levels)}/{LEVELS}"
    return str(number) if number.denominator <= DENOMINATOR else repr(float(number))


def in_levels(text: str) -> str:
    """A radius, and beside one that is not written in them how many of the 255 levels of a pixel that is."""
    levels = fraction(text) * LEVELS
    return text if text.endswith(f"/{LEVELS}") else f"{text} ({float(levels):.3g}/{LEVELS})"


def _short_decimal(number: Fraction) -> str:
    """ "0.5" for 1/2; empty where that would take more than `PLACES` decimals."""
    if (number * 10**PLACES).denominator != 1:
        return ""
    text = f"{Decimal(number.numerator) / number.denominator:.{PLACES}f}"
    return text.rstrip("0").rstrip(".")


@lru_cache(maxsize=1024)  # a report asks for few of them, many times
def _checked(text: str, option: str) -> Fraction:
    try:
        number = fraction(text)
    except (ValueError, ArithmeticError):
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        raise UserError(f"{option} {shown!r} is not a number", hint=f"{option} 1/255") from None
    if number == 0 and option == "--eps":
        raise UserError(
            f"--eps {text} leaves every image as it is",
            hint="--attack clean tests images as they are; --method ft-standard trains on them",
        )
    if number <= 0:
        raise UserError(f"{option} {text} is not positive", hint=f"{option} 1/255")
    if not LEAST <= number <= MOST:
        far = "smaller than float32 pixels can tell" if number < LEAST else "longer than any image"
        raise UserError(f"{option} {text} is {far}", hint=f"{option} 1/255, or for --norm l2 {option} 0.5")
    return number
