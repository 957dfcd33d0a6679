"""Read a number that a data set gives as its right answer.

The reading is strict, because a misread target marks right answers as wrong: the whole text must be one number.

    1,000   1,00,000   1\u202f000   .5   18.   1e3   +7   -2   \u22122      the number
    $5.00   -$5   \u20ac5   5 \u20ac   50%                                  the number without the sign of its unit
    3/4   1 1/2                                                    0.75, 1.5
    (nothing)   18 apples   3 4   3-4   1,5   3 to 4   1 000       no number
"""

from __future__ import annotations

import math
import re

LARGEST = 1e300
"""The limit for the absolute value of a number, so that it fits into a float."""
_CURRENCY = "$\u20ac\u00a3\u00a5\u20b9"
_GAP = "\u00a0\u2009\u202f"
"""Blanks that do not break a line, as which some write the thousands separator."""
_DIGITS = (
    rf"[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]{{1,2}}(?:,[0-9]{{2}})+,[0-9]{{3}}|[0-9]{{1,3}}(?:[{_GAP}][0-9]{{3}})+|[0-9]+"
)
_NUMBER = re.compile(
    rf"(?P<sign>[-+\u2212\u2013]?)[{_CURRENCY}]?(?P<size>(?:{_DIGITS})(?:\.[0-9]*)?|\.[0-9]+)(?P<power>[eE][-+]?[0-9]{{1,4}})?"
    rf"(?:\s?[%{_CURRENCY}])?\.?"
)
_FRACTION = re.compile(r"(?P<sign>[-+\u2212\u2013]?)(?:(?P<whole>[0-9]+) )?(?P<above>[0-9]+)/(?P<below>[0-9]+)")


def written_number(text: str) -> float | None:
    """The number that the whole text is; None for any other text. A number beyond the range of a float is infinite."""
    text = text.strip()
    if found := _NUMBER.fullmatch(text):
        size = float(re.sub(rf"[,{_GAP}]", "", found["size"]) + (found["power"] or ""))
    elif (found := _FRACTION.fullmatch(text)) and (below := float(found["below"])):
        size = float(found["whole"] or 0) + float(found["above"]) / below
    else:
        return None
    return None if math.isnan(size) else -size if found["sign"] in ("-", "\u2212", "\u2013") and size else size
