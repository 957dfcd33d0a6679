"""Writes a page as LaTeX tables in booktabs style. The text is plain ASCII, so that every engine compiles it."""

from __future__ import annotations

import re
import unicodedata

from mipo_bench.reports.pages.page import Page, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
}
_SIGNED = re.compile(r"[+-][0-9.]+%?")
_RANGE = re.compile(f"{_SIGNED.pattern}( to {_SIGNED.pattern})?")
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0327": "c", "\u030c": "v"}


def page_to_latex(p: Page) -> str:
    """The page as LaTeX: its tables with their footnotes. It needs only the package booktabs."""
    lines = ["% Needs \\usepackage{booktabs} in the preamble."]
    lines += [f"% {_ascii(line)}" for line in p.head]
    for section in p.sections:
        for table in section.tables:
            lines += ["", *table_to_latex(f"{section.title}. {table.title}.", table)]
    if p.footnotes:
        lines += ["", r"\begingroup\footnotesize\noindent"]
        lines += [f"[{n}]~{escape(note)}\\par\\noindent" for n, note in enumerate(p.footnotes, start=1)]
        lines += [r"\endgroup"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets literally, in ASCII: accents as commands, other characters as [U+XXXX]."""
    escaped = "".join(_character(c) for c in unicodedata.normalize("NFC", text))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row would be set as a dash


def _character(c: str) -> str:
    if c in _SPECIAL:
        return _SPECIAL[c]
    if c.isascii() and c.isprintable():
        return c
    parts = unicodedata.normalize("NFD", c)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"[U+{ord(c):04X}]"


def _ascii(text: str) -> str:
    """Text inside a comment: one line of printable ASCII."""
    return "".join(c if c.isascii() and c.isprintable() else f"[U+{ord(c):04X}]" for c in text)


def table_to_latex(caption: str, table: Table) -> list[str]:
    """The lines of a table environment."""
    return [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{escape(caption)}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(escape(column) for column in table.columns) + r" \\",
        r"\midrule",
        *(_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _row(row: tuple[str, ...]) -> str:
    if len(row) > 1 and not any(row[1:]):
        return f"\\multicolumn{{{len(row)}}}{{l}}{{\\textit{{{escape(row[0])}}}}} \\\\"
    return " & ".join(_cell(cell) for cell in row) + r" \\"


def _cell(cell: str) -> str:
    """One cell. Signed numbers are set in math mode, for a true minus sign."""
    text = cell.strip()
    number = _RANGE.match(text)
    if number is None:
        return escape(text)
    signed = _SIGNED.sub(lambda found: f"${escape(found.group())}$", number.group())
    return signed + escape(text[number.end() :])
