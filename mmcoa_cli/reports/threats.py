"""What attacked: the settings of each part of a threat model, whether two are alike, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from ..attacks.base import ATTACKS, given_options, settings_of
from ..attacks.radii import canonical_or_same

if TYPE_CHECKING:
    from .rows import Row

Section = Mapping[str, Any]
Key = tuple[Any, ...]
RADII = ("eps", "alpha")
BESIDE = ("version", "mlm", "mlm_name")  # what a section says beside the settings, and results must agree on
OLD_CODE = "by an earlier version of mmcoa"


@dataclass(frozen=True, eq=False)  # many results share one, and what is worked out of it is remembered
class Threat:
    """An attack with the settings of its parts: itself and what it needs. One that changes nothing has none."""

    attack: str
    parts: Mapping[str, Section]

    @classmethod
    def of(cls, attack: str, document: Mapping[str, Any]) -> Threat:
        """As the index has it; older ones have radii in other forms."""
        parts = {
            name: {option: canonical_or_same(value) if option in RADII else value for option, value in part.items()}
            for name, part in document.items()
            if isinstance(part, dict)
        }
        return cls(attack, parts)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of all parts, the attack's own before those of what it needs, and the version of each part."""
        ordered = (*self.parts.values(), self.parts.get(self.attack, {}))
        versions = {f"{name}_version": part.get("version") for name, part in self.parts.items()}
        return {**{name: value for part in ordered for name, value in part.items()}, **versions}


def settings(name: str, section: Section) -> Any:
    """The settings object of a part; None where today's code has no such attack or settings."""
    try:
        plain = {option: tuple(value) if isinstance(value, list) else value for option, value in section.items()}
        return _settings(name, tuple(plain.items()))
    except (KeyError, TypeError, ValueError, UserError):  # what an index from elsewhere has may be no attack
        return None


@lru_cache(maxsize=1024)
def _settings(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    return settings_of(ATTACKS[name], dict(options))


@lru_cache(maxsize=4096)
def agreement(threat: Threat, without: tuple[str, ...]) -> dict[str, Key]:
    """A key for each part: equal for parts that differ in no more than the options `without`, and in what follows from
    those."""
    return {name: _key(name, section, without) for name, section in threat.parts.items()}


def _key(name: str, section: Section, without: tuple[str, ...]) -> Key:
    made = settings(name, section)
    if made is None:
        found = {option: value for option, value in section.items() if option != "seed"}
    elif any(hasattr(made, option) for option in without):
        found = given_options(made)
    else:
        found = asdict(made)
    found |= {option: section[option] for option in BESIDE if section.get(option)}
    return tuple(sorted((option, str(value)) for option, value in found.items() if option not in without))


def is_within(threat: Threat, allowed: Mapping[str, Section]) -> bool:
    """Whether every part is one of `allowed` and ran with the settings that it has there, defaults included."""

    def ran_with(name: str, section: Section) -> dict[str, Any]:
        made = settings(name, section)
        return {**(asdict(made) if made else {}), **section}

    return all(
        name in allowed and allowed[name].items() <= ran_with(name, part).items() for name, part in threat.parts.items()
    )


def attack_name(name: str) -> str:
    """ "image attack"; the name alone of one that changes nothing, or that says so itself ("co-attack")."""
    attack = ATTACKS.get(name)
    return name if (attack and attack.changes_nothing) or name.endswith("attack") else f"{name} attack"


def in_words(rows: Iterable[Row], *, sized: bool = False) -> list[str]:
    """A line for each part of the threat models of `rows`, in the order of the registry; with `sized`, on how many
    pixels. Parts that differ in an option are told in one line."""
    told: dict[str, dict[str, None]] = {}
    different = {(row.threat, row.compat, row.pixel_size, row.earlier_code, row.earlier_mlm): row for row in rows}
    for row in different.values():
        for name in row.threat.parts:
            told.setdefault(name, {})[_words(row, name, sized)] = None
    known = list(ATTACKS)
    ordered = sorted(told, key=lambda name: (known.index(name) if name in known else len(known), name))
    return [f"{attack_name(name)}: {_together(told[name])}" for name in ordered]


def _words(row: Row, name: str, sized: bool) -> str:
    section, attack = row.threat.parts[name], ATTACKS.get(name)
    made = settings(name, {"compat": row.compat, **section})
    said = [made.in_words() if made else ", ".join(f"{option} {value}" for option, value in section.items())]
    if sized and attack and attack.images and row.pixel_size:
        said.append(f"on {row.pixel_size} x {row.pixel_size} pixels")
    if section.get("mlm_name"):
        said.append(_masked_lm(row, section))
    if row.earlier_code:
        said.append(OLD_CODE)
    caution = made.caution if made else ""
    return ", ".join(said) + (f" (warning: {caution})" if caution else "")


def _masked_lm(row: Row, section: Section) -> str:
    origin = {"stand-in": " (a stand-in)", "own": " (own weights)"}.get(str(section.get("mlm_origin")), "")
    earlier = f", an earlier one of that name ({str(section.get('mlm'))[:8]})" if row.earlier_mlm else ""
    return f"masked LM {section['mlm_name']}{origin}{earlier}"


def _together(told: Iterable[str]) -> str:
    """Where they have as many phrases, what differs stands side by side: "eps 1/255 | 2/255, 100 steps"."""
    found = [line.split(", ") for line in told]
    if len({len(phrases) for phrases in found}) > 1:
        return "; or ".join(", ".join(phrases) for phrases in found)
    return ", ".join(_side_by_side(list(dict.fromkeys(same))) for same in zip(*found, strict=True))


def _side_by_side(phrases: Sequence[str]) -> str:
    first, *_ = (phrase.partition(" ")[0] + " " for phrase in phrases)
    alike = all(phrase.startswith(first) for phrase in phrases)
    return " | ".join([phrases[0], *(phrase.removeprefix(first) if alike else phrase for phrase in phrases[1:])])
