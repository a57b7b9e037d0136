"""The settings that an attack ran with: in words, and whether two results were attacked alike; whatever its name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from ..attacks.base import ATTACKS, given_options, settings_of

if TYPE_CHECKING:
    from .rows import Row

Section = Mapping[str, Any]
Key = tuple[Any, ...]
BESIDE = ("version", "mlm", "mlm_name")  # what a section says beside the settings, and results must agree on
OLD_CODE = "by an earlier version of mmcoa"


def settings(name: str, section: Section) -> Any:
    """The settings object of a section of a threat model; None where today's code has no such attack or settings."""
    try:
        return _settings(name, tuple(section.items()))
    except (KeyError, TypeError, ValueError, UserError):  # what an index from elsewhere has may be no attack
        return None


@lru_cache(maxsize=1024)
def _settings(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    return settings_of(ATTACKS[name], dict(options))


def options(name: str, section: Section) -> dict[str, Any]:
    """The options of a section, with the defaults of those that it does not say."""
    made = settings(name, section)
    return {**(asdict(made) if made else {}), **section}


def key(name: str, section: Section, *, without: Collection[str] = ()) -> Key:
    """Equal for sections that differ in no more than the options `without`, and in what follows from those."""
    made = settings(name, section)
    if made is None:
        found = {option: value for option, value in section.items() if option != "seed"}
    elif any(hasattr(made, option) for option in without):
        found = given_options(made)
    else:
        found = asdict(made)
    found |= {option: section[option] for option in BESIDE if section.get(option)}
    return tuple(sorted((option, str(value)) for option, value in found.items() if option not in without))


def attack_name(name: str) -> str:
    """ "image attack"; the name alone of one that changes nothing, or that says so itself ("co-attack")."""
    attack = ATTACKS.get(name)
    return name if (attack and attack.changes_nothing) or name.endswith("attack") else f"{name} attack"


def in_order(names: Iterable[str]) -> list[str]:
    """Attacks in the order of the registry, those that it does not know last."""
    known = list(ATTACKS)
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def lines(rows: Sequence[Row], *, sized: bool = False) -> list[str]:
    """A line for each part of the threat model of `rows`; with `sized`, on how many pixels. Parts that differ in an
    option are told in one line."""
    names = in_order({name for row in rows for name in row.threat})
    return [
        f"{attack_name(name)}: {_together(_words(row, name, sized) for row in rows if name in row.threat)}"
        for name in names
    ]


def _words(row: Row, name: str, sized: bool) -> str:
    section, attack = row.threat[name], ATTACKS.get(name)
    made = settings(name, {"compat": row.compat, **section})
    own = made.in_words() if made else ", ".join(f"{option} {value}" for option, value in section.items())
    side = bool(sized and attack and attack.images and row.pixel_size)
    said = [
        own,
        *([f"on {row.pixel_size} x {row.pixel_size} pixels"] if side else []),
        *([_masked_lm(row, section)] if section.get("mlm_name") else []),
        *([OLD_CODE] if row.earlier_code else []),
    ]
    caution = made.caution if made else ""
    return ", ".join(said) + (f" (warning: {caution})" if caution else "")


def _masked_lm(row: Row, section: Section) -> str:
    origin = {"stand-in": " (a stand-in)", "own": " (own weights)"}.get(str(section.get("mlm_origin")), "")
    earlier = f", an earlier one of that name ({str(section.get('mlm'))[:8]})" if row.earlier_mlm else ""
    return f"masked LM {section['mlm_name']}{origin}{earlier}"


def _together(told: Iterable[str]) -> str:
    """Each once; where they have as many phrases, what differs stands side by side: "eps 1/255 | 2/255, 100 steps"."""
    found = [line.split(", ") for line in dict.fromkeys(told)]
    if len({len(phrases) for phrases in found}) > 1:
        return "; or ".join(", ".join(phrases) for phrases in found)
    return ", ".join(_side_by_side(list(dict.fromkeys(same))) for same in zip(*found, strict=True))


def _side_by_side(phrases: Sequence[str]) -> str:
    first, *_ = (phrase.partition(" ")[0] + " " for phrase in phrases)
    alike = all(phrase.startswith(first) for phrase in phrases)
    return " | ".join([phrases[0], *(phrase.removeprefix(first) if alike else phrase for phrase in phrases[1:])])
