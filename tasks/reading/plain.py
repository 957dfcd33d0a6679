r"""Take off what decorates an answer: emphasis, code marks, HTML, LaTeX text commands, full-width forms, fine blanks.

    "**Answer:** $\text{B}$"      "Answer: $B$"
    "12,\!000"                    "12,000"
    "３½ m²"                       "3 1/2 m^2"

Powers keep their hat, for the digits of a power are no answer.
"""

from __future__ import annotations

import re
import unicodedata

_COMMANDS = "text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox"
_TEXT_COMMAND = re.compile(rf"\\(?:{_COMMANDS})\s*\{{([^{{}}]*)\}}")
_LATEX_BLANK = re.compile(r"\{,\}|\\[,;:! ]|\\q?quad\b|\\(?:left|right|displaystyle)(?![a-zA-Z])")
_ESCAPED = re.compile(r"\\([%$&#_{}])")
_MATH_SIGN = re.compile(r"\\[()\[\]]")
_STARS = re.compile(r"(?<!\d)\*{2,}|\*{2,}(?!\d)|(?<![\w*])\*(?=[^\s*])([^*\n]+)(?<=\S)\*(?![\w*])")
_UNDERSCORES = re.compile(r"(?<![^\W_])_{1,3}(?=[^\s_])([^_\n]+)(?<=\S)_{1,3}(?![^\W_])")
_BREAK, _TAG = re.compile(r"<br\s*/?>", re.I), re.compile(r"</?(?:b|strong|i|em|u|p|span|code|center|mark)>", re.I)
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FRACTION = re.compile("([\u00bc-\u00be\u2150-\u215e\u2189])")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_SIGNS = str.maketrans("\u2212\u2013\u2010\u2011\u2044\u2018\u2019\u201c\u201d\u3002", "----/''\"\".")


def plain(text: str) -> str:
    """The text without decoration. Line breaks stay; other white space becomes a blank."""
    text = text.encode("utf-8", "replace").decode()  # half a character (a surrogate) is none
    text = _FRACTION.sub(r" \1", text)
    text = _SUPERSCRIPT.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), text)
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    text = _CALCULATOR.sub("", _TAG.sub("", _BREAK.sub("\n", text)))
    text = _latex(text) if "\\" in text or "{" in text else text
    text = _UNDERSCORES.sub(r"\1", _STARS.sub(lambda found: found[1] or "", text.replace("`", "")))
    text = text.strip(" \t\r\n*_~")
    return re.sub(r"[^\S\n]+", " ", re.sub(r"\r\n?|[\u2028\u2029\x85\v\f]", "\n", text))


def _latex(text: str) -> str:
    """The text without LaTeX's blanks, text commands and escapes."""
    text = _LATEX_BLANK.sub(_blank, text)
    for _ in range(2):  # \textbf{\text{B}}
        text = _TEXT_COMMAND.sub(r"\1", text)
    return _ESCAPED.sub(r"\1", _MATH_SIGN.sub(" ", text))


def _blank(found: re.Match[str]) -> str:
    return "," if found[0] == "{,}" else "" if found[0] in (r"\!", r"\,") else " "
