"""Characters that a terminal obeys, or that hide."""

from __future__ import annotations

import unicodedata

import pytest

from store.printable import is_printable, visible

HOSTILE = {
    "an escape sequence": "\x1b[31mred",
    "NUL": "a\0b",
    "a bell": "a\x07",
    "delete": "a\x7f",
    "C1": "a\x9b31m",
    "next line": "a\x85b",
    "a newline": "cat\nerror: it is lost",
    "a return": "cat\rdog",
    "a tab": "cat\tdog",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "right to left": "\u202egpj.exe",
    "isolate": "a\u2066b\u2069",
    "marks of direction": "a\u200eb\u200f\u061c",
    "zero width": "c\u200bat",
    "a byte order mark": "\ufeffcat",
    "a soft hyphen": "c\u00adat",
    "tags": "a\U000e0041",
    "half a pair": "a\ud800",
    "a byte that is no UTF-8": "a\udcff",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_shown_as_plain_ascii(text: str) -> None:
    assert not is_printable(text)
    shown = visible(text)
    assert is_printable(shown) and shown.isascii() and "\\" in shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    "text", ["", "cat", "Ünïcode ö", "犬", "می\u200cخواهم", "👩\u200d🔬", r"C:\temp", "a|b_c*", "é\u0301"]
)
def test_what_prints_stays_as_it_is(text: str) -> None:
    assert is_printable(text)
    assert visible(text) == text


def test_newlines_may_be_kept() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_every_control_and_direction_character_of_unicode_is_caught() -> None:
    for code in range(0x110000):
        sign = chr(code)
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B", "S",
        }:  # fmt: skip
            assert not is_printable(sign), hex(code)
