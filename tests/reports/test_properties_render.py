"""Tables, LaTeX and Markdown lose no character of any text, and turn none into markup."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.render import latex, markdown
from mipo_bench.reports.render.text_table import GAP, NARROWEST, table_lines

TEXTS = st.one_of(st.text(max_size=40), st.text(alphabet="\\`*_{}[]<>#|!~$&;@a1 -'\"^%\n", max_size=40))
CELLS = st.text(alphabet="abc 019.%+-é漢字", max_size=12)
NAMES = st.one_of(CELLS, st.text(alphabet="a 漢", min_size=10, max_size=40))
FIGURES = CELLS.filter(lambda text: text == text.strip() != "")
TABLES = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.tuples(NAMES, *[FIGURES] * n), min_size=1, max_size=5)  # heading and rows
)

LATEX = re.compile(
    r"""(?:\\text(?:backslash|asciicircum|asciitilde|less|greater|bar|asciigrave)\{\}  # a named character
    |\\[{}$&#%_]                     # an escaped character of LaTeX
    |\\[`'^~"cv]\{[A-Za-z]\}         # a letter with an accent
    |\[U\+[0-9A-F]{4,6}\]            # any other character, as its code point
    |-\{\}                           # a hyphen before another one
    |[^\\{}$&\#%_^~<>|"`\x00-\x1f\x7f-\U0010ffff])*""",
    re.VERBOSE,
)


@example("a---b")
@given(TEXTS)
def test_latex_holds_nothing_but_text_and_the_commands_of_characters(text: str) -> None:
    escaped = latex.escape(text)
    assert LATEX.fullmatch(escaped)
    assert "--" not in escaped


@given(st.text(alphabet=[c for c in map(chr, range(32, 127)) if c not in '\\{}$&#%_^~<>|"`-'], max_size=40))
def test_latex_leaves_ordinary_text_alone(text: str) -> None:
    assert latex.escape(text) == text


@given(TEXTS)
def test_latex_does_not_depend_on_how_accents_are_encoded(text: str) -> None:
    assert latex.escape(unicodedata.normalize("NFD", text)) == latex.escape(unicodedata.normalize("NFC", text))


def unescaped(text: str) -> str:
    """The text that a reader of the Markdown sees. Zero-width spaces occur only inside would-be links."""
    return re.sub(r"\\(.)|&amp;", lambda found: found[1] or "&", text).replace("\u200b", "")


@given(TEXTS)
def test_markdown_shows_the_text_and_no_markup(text: str) -> None:
    escaped = markdown.escape(text)
    assert unescaped(escaped) == without_control_characters(text)
    bare = re.sub(r"\\.", "", escaped).replace("&amp;", "")
    assert not set(bare) & set("\\`*_{}[]<>#|!~$&")
    assert not re.search(r"@\w|#\d", escaped)


@given(TEXTS)
def test_a_printed_text_has_one_line_and_no_control_characters(text: str) -> None:
    assert without_control_characters(text).isprintable()
    assert len(without_control_characters(text)) == len(text)


@given(table=TABLES, width=st.integers(1, 100))
def test_a_table_cuts_nothing_and_aligns_its_figures(table: list[tuple[str, ...]], width: int) -> None:
    lines = table_lines(table[0], table[1:], width)
    assert "".join("".join(lines).replace("─", "").split()) == "".join("".join(map("".join, table)).split())
    figures = sum(max(cell_len(row[n]) for row in table) for n in range(1, len(table[0])))
    gaps = len(GAP) * (len(table[0]) - 1)
    assert max(map(cell_len, lines)) <= max(width, NARROWEST, 8 + figures + gaps)
    ends = {cell_len(line) for line in lines if line.endswith(tuple(row[-1] for row in table)) and GAP in line}
    assert cell_len(lines[1]) == max(map(cell_len, [lines[0], *lines[2:]]))
    assert ends


@given(table=st.lists(st.tuples(st.text("ab漢", min_size=1, max_size=8), FIGURES, FIGURES), min_size=2, max_size=5))
def test_figures_of_all_rows_end_in_the_same_column(table: list[tuple[str, ...]]) -> None:
    heading, _, *body = table_lines(table[0], table[1:], 200)
    assert len({cell_len(line) for line in (heading, *body)}) == 1
