"""The templates beside this module, filled: whatever is put into one is shown as text, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from store.printable import visible

if TYPE_CHECKING:
    from jinja2 import Template

LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "−": "$-$", "≤": r"$\le$"},
        **{"±": r"$\pm$", "·": r"$\cdot$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}"},
    }
)
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<[&"})
BRACES = {  # of a template in which braces are LaTeX's
    "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<", "variable_end_string": ">>",
    "comment_start_string": "<#", "comment_end_string": "#>",
}  # fmt: skip


def filled(name: str, **values: Any) -> str:
    """The template of this name with these values."""
    return _template(name).render(**values)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    escaped, syntax = TEMPLATES[name]
    templates = Environment(
        loader=PackageLoader(__package__, "."), finalize=lambda value: escaped(value) if _is_text(value) else value,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, **syntax,
    )  # fmt: skip
    return templates.get_template(name)


def _is_text(value: object) -> bool:
    """Whether it is text, and not HTML that a template made itself."""
    return isinstance(value, str) and not hasattr(value, "__html__")


def _markdown(text: str) -> str:
    """Text for Markdown: no table cell, emphasis, link or tag of a name's own."""
    return visible(text).translate(MARKDOWN)


def _latex(text: str) -> str:
    """Text for LaTeX; two hyphens, as of an option, stay two."""
    return visible(text).translate(LATEX).replace("--", "-{}-").replace("–", "--")


TEMPLATES: dict[str, tuple[Callable[[str], str], dict[str, Any]]] = {
    "tables.md.jinja": (_markdown, {}),
    "card.md.jinja": (_markdown, {}),
    "tables.tex.jinja": (_latex, BRACES),
    "page.html.jinja": (visible, {"autoescape": True}),
}
