"""Whatever a run writes is shown as text: visible, harmless, and in reading order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.diary.output import SHOWN_LINES, render


def html(text: str) -> list[str]:
    return [str(line.html) for line in render(text).head]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n", ["plain"]),
        ("", []),
        ("a\n\nb", ["a", "", "b"]),
        ("<script>alert(1)</script>", ["&lt;script&gt;alert(1)&lt;/script&gt;"]),
        ("\x1b[31mred\x1b[0m plain", ['<span class="ansi-red">red</span><span class=""> plain</span>']),
        ("\x1b[1;32mok", ['<span class="bold ansi-green">ok</span>']),
        ("\x1b[1mtwo\nlines\x1b[22m", ['<span class="bold">two</span>', '<span class="bold">lines</span>']),
        ("\x1b[38;5;196mfar\x1b[38;2;1;2;3mther", ["farther"]),
        ("\x1b[2J\x1b[1;1Hcleared", ["cleared"]),
        ("\x1b]0;title\x07text", ["text"]),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("10%\r50%\r100%\r\ndone", ["100%", "done"]),
        ("a\u202eb", ['a<span class="mark">U+202E</span>b']),
        ("bell\x07", ['bell<span class="mark">␇</span>']),
        ("zero\u200bwidth", ['zero<span class="mark">U+200B</span>width']),
        ("tab\there, naïve, 日本語, עברית", ["tab\there, naïve, 日本語, עברית"]),
    ],
)
def test_output_is_shown_as_text(text: str, shown: list[str]) -> None:
    assert html(text) == shown


@given(st.text())
def test_no_output_brings_markup_or_control_characters_of_its_own(text: str) -> None:
    for line in html(text):
        bare = line.replace('<span class="mark">', "").replace("</span>", "").replace('<span class="">', "")
        assert "<" not in bare.replace('<span class="bold">', "").replace('<span class="dim">', "") or "ansi-" in bare
        assert not any(ord(character) < 32 and character != "\t" or character == "\x7f" for character in bare)


def test_the_middle_of_a_very_long_output_is_left_out_and_counted() -> None:
    lines = 3 * SHOWN_LINES
    rendered = render("".join(f"line {number}\n" for number in range(1, lines + 1)))
    assert len(rendered.head) + len(rendered.tail) == SHOWN_LINES
    assert rendered.left_out == lines - SHOWN_LINES
    assert rendered.tail[-1].number == lines
    assert rendered.tail[-1].html == f"line {lines}"
    assert rendered.head[-1].number + rendered.left_out + 1 == rendered.tail[0].number


def test_the_end_of_a_very_long_output_is_in_the_colours_of_then() -> None:
    rendered = render("\n" * SHOWN_LINES + "\x1b[31m\n" + "x\n" * SHOWN_LINES)
    assert rendered.tail[-1].html == '<span class="ansi-red">x</span>'
