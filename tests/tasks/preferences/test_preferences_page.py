"""`docs/preferences.md` has the kinds, their rules and their base rates as the code has them.

`MIPO_BENCH_UPDATE_GOLDEN=1 pytest tests/tasks/preferences/test_preferences_page.py` writes the table anew.
"""

from __future__ import annotations

import os
import re

from paths import ROOT

from mipo_bench.tasks.preferences.base_rates import BASE_RATES, COUNTED_BELOW
from mipo_bench.tasks.preferences.kinds import KINDS, Kind
from mipo_bench.tasks.preferences.requests import REQUESTS
from mipo_bench.tasks.preferences.wordings import SHOWN, WORDINGS

PAGE = ROOT / "docs" / "preferences.md"
HEAD = "| kind | a wording | met by | checked on requests for | base rate |\n|---|---|---|---|---|\n"
ABOUT = {
    "": "anything",
    "how_to": "a procedure",
    "comparison": "a comparison",
    "yes_no": "yes or no",
    "spelling": "words with two spellings",
    "decision": "a decision",
    "quantity": "measures",
    "date": "a date",
    "code": "Python code",
}


def table() -> str:
    """The table of the page."""
    return HEAD + "".join(map(_row, KINDS.values()))


def _row(kind: Kind) -> str:
    value = kind.values[0]
    wording = WORDINGS[kind.name][0].format(SHOWN.get(kind.name, {}).get(value, value))
    rule = " ".join((kind.check.__doc__ or "").split()).replace("|", "\\|")
    return f"| `{kind.name}` | {wording} | {rule} | {ABOUT[kind.about]} | {', '.join(_rates(kind))} |\n"


def _rates(kind: Kind) -> list[str]:
    """The base rate of each value, those that do not count in italics."""
    keys = [key for key in BASE_RATES if key.partition("=")[0] == kind.name]
    texts = [f"{key.partition('=')[2]} {BASE_RATES[key]:.2f}".strip() for key in keys]
    return [t if BASE_RATES[k] < COUNTED_BELOW else f"*{t}*" for k, t in zip(keys, texts, strict=True)]


def test_the_page_has_the_table_of_the_code() -> None:
    page = PAGE.read_text()
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        page = re.sub(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: table(), page)
        PAGE.write_text(page)
    assert table() in page


def test_the_page_has_the_numbers_of_the_code() -> None:
    page = PAGE.read_text()
    assert f"base rate is below {COUNTED_BELOW}" in page
    assert f"Requests are {len(REQUESTS)}" in page
