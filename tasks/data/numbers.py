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
_SIGN = r"(?P<sign>[-+\u2212\u2013]?)"
_UNIT = "[$%\u20ac\u00a3\u00a5\u20b9]"
_GAP = "[\u00a0\u2009\u202f]"
"""Blanks that break no line, which some write between thousands."""
_WHOLE = "|".join((r"\d{1,3}(?:,\d{3})+", r"\d{1,2}(?:,\d{2})+,\d{3}", rf"\d{{1,3}}(?:{_GAP}\d{{3}})+", r"\d+"))
"""Whole numbers with thousands, lakhs or no groups."""
_SIZE = rf"(?P<size>(?:{_WHOLE})(?:\.\d+)?|\.\d+)(?P<power>[eE][-+]?\d{{1,4}})?"
_NUMBER = re.compile(rf"{_SIGN}(?P<before>{_UNIT}?){_SIZE}(?P<after>(?: |{_GAP})?{_UNIT})?\.?", re.ASCII)
_FRACTION = re.compile(rf"{_SIGN}(?:(?P<whole>\d+) )?(?P<above>\d+)/(?P<below>\d+)", re.ASCII)


def written_number(text: str) -> float | None:
    """The number that the whole text is; None for any other text. A number beyond the range of a float is infinite."""
    text = text.strip()
    if (found := _NUMBER.fullmatch(text)) and not (found["before"] and found["after"]):
        size = float(re.sub(f",|{_GAP}", "", found["size"]) + (found["power"] or ""))
    elif (found := _FRACTION.fullmatch(text)) and (below := float(found["below"])):
        size = float(found["whole"] or 0) + float(found["above"]) / below
    else:
        return None
    return None if math.isnan(size) else -size if size and found["sign"] not in ("", "+") else size
