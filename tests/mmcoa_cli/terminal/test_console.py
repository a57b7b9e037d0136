"""What reaches the terminal: no markup, emoji code or control character of a name is obeyed, anywhere."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Group
from rich.table import Table

from mmcoa_cli.terminal import console
from store.errors import UserError

NAMES = {
    "a forged error": "cat\nerror: all is lost",
    "colours": "cat\x1b[31m\x9b1m",
    "a title": "cat\x1b]0;title\x07",
    "a return": "cat\rdog",
    "bidi": "cat\u202egod",
    "markup": "[red]cat[/red]",
    "a link": "[link=https://example.org]cat[/link]",
    "broken markup": "[/nothing] [bold",
    "an emoji code": ":cat: :skull:",
    "half a pair": "cat\udcff",
}


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Both consoles on one piece of text, as a terminal without colours or as a pipe."""
    text = io.StringIO()
    for name in ("out", "err"):
        made = console.Terminal(file=text, force_terminal=request.param, color_system=None, width=200)
        monkeypatch.setattr(console, name, made)
    yield text


def obeyed(shown: str) -> str:
    """What a terminal would obey in the text, but for the codes that rich itself moves and hides the cursor with."""
    for code in ("\x1b[?25l", "\x1b[?25h", "\x1b[1A", "\x1b[2K", "\r"):
        shown = shown.replace(code, "")
    return "".join(sign for sign in shown if not sign.isprintable() and sign != "\n")


def expected(name: str) -> str:
    return console.visible(name)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_lines_are_one_line_each_and_as_they_were_written(screen: io.StringIO, name: str) -> None:
    console.say(f"the class {name} is here", head="1/2", style="dim")
    console.show(f"{name}: 3")
    assert screen.getvalue() == f"1/2 the class {expected(name)} is here\n{expected(name)}: 3\n"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_an_error_is_two_lines(screen: io.StringIO, name: str) -> None:
    console.print_error(UserError(f"no class {name}", hint=f"mmcoa fetch {name}"))
    first, second = screen.getvalue().splitlines()
    assert first.startswith("error: no class ") and second.startswith("hint: mmcoa fetch ")
    assert not obeyed(screen.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_words_stay_whole_in_a_terminal_and_what_is_typed_stays_in_one_line(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, path = io.StringIO(), "/a/" + "long/" * 12 + "path.h5"
    narrow = console.Terminal(file=text, force_terminal=terminal, color_system=None, width=40)
    monkeypatch.setattr(console, "err", narrow)
    prose, command = (
        "one two three four five six seven eight nine ten",
        "mmcoa fetch birds --from PATH; or another name",
    )
    console.print_error(UserError(f"{prose} {path}", hint=command))
    broken = ["error: one two three four five six seven", f"eight nine ten {path}"]
    assert text.getvalue().splitlines() == [*(broken if terminal else [f"error: {prose} {path}"]), f"hint: {command}"]


def test_nothing_in_a_table_is_cut_off() -> None:
    text, path = io.StringIO(), "/a/" + "long/" * 12 + "path.h5"
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row("ok", "index", path)
    console.Terminal(file=text, width=40).print(Group(grid))
    printed = "".join(text.getvalue().split())
    assert "…" not in printed and path in printed


def test_a_long_error_is_cut_in_its_middle(screen: io.StringIO) -> None:
    console.print_error(UserError("begin " + "9" * 5000 + " end", hint="shorter"))
    *lines, _ = screen.getvalue().splitlines()
    line = " ".join(lines)
    assert len(line) < 1000 and line.startswith("error: begin 9") and line.endswith("9 end")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_progress_shows_the_name_as_it_is(screen: io.StringIO, name: str) -> None:
    with console.progress(name, total=2, unit="images") as task:
        task.advance(2, note=f"last {name}")
    assert expected(name) in screen.getvalue()
    assert not obeyed(screen.getvalue())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_tables_show_the_name_as_it_is(screen: io.StringIO, name: str) -> None:
    table = Table("name")
    table.add_row(name.replace("\n", " "))
    console.out.print(table)
    assert expected(name.replace("\n", " ")) in screen.getvalue()
    assert not obeyed(screen.getvalue())


@pytest.mark.parametrize(
    "document", [{}, [], None, {"a": [], "b": {"c": [1, {"d": "é", "e": (1.5, None)}], "f": True}}]
)
def test_json_is_indented_as_python_does(document: object) -> None:
    assert console.as_json(document) == json.dumps(document, indent=2) + "\n"


def test_json_is_plain_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    names = [*NAMES.values(), "\x7f\x9b"]
    console.print_json(names)
    out = capsys.readouterr().out
    assert out.isascii() and json.loads(out) == names
    assert not obeyed(out)
