"""Class prompts: "This is a photo of a {class}", with the class name as the paper cleans it."""

from __future__ import annotations

from collections.abc import Sequence


def clean_name(name: str) -> str:
    """A class name as prompts hold it: lower case, "_", "-" and "/" as spaces."""
    return " ".join(name.lower().translate(str.maketrans("_-/", "   ")).split())


def class_prompts(class_names: Sequence[str], template: str) -> list[str]:
    """One prompt a class, in class order."""
    return [template.replace("{}", clean_name(name)) for name in class_names]
