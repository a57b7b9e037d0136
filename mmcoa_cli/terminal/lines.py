"""Lines for people: with styles on a terminal, without them and without spaces at their ends elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.text import Text

from .console import out

Styled = tuple[str, str, tuple[tuple[int, int], ...]]  # a line, the style it is printed in, and where it is bold


def print_lines(lines: Iterable[Styled]) -> None:
    """Print them on stdout, with colours on a terminal."""
    if out.is_terminal:
        out.print(Text("\n").join(map(_in_colours, lines)), soft_wrap=True)  # what is wider, the terminal may wrap
    else:
        out.file.write(plain_text(lines))


def plain_text(lines: Iterable[Styled]) -> str:
    return "".join(f"{line.rstrip()}\n" for line, *_ in lines)


def _in_colours(line: Styled) -> Text:
    text, style, bold = line
    found = Text(text, style)
    for start, end in bold:
        found.stylize("bold", start, end)
    return found


def folded(line: str, width: int) -> list[str]:
    """In lines of at most so many columns."""
    if cell_len(line) <= width:
        return [line]
    return [part.plain for part in Text(line).wrap(out, width)]
