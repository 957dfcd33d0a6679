"""Changed reports: what is read is rendered in every format, compared and gated."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from made_reports import Made
from mutations import changed, damaged
from paths import GOLDEN, ROOT, TESTS
from rich.console import Console

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.gate import Gate, apply_gate
from mipo_bench.reports.diff.page import diff_page
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.diff.to_json import diff_to_json
from mipo_bench.reports.diff.trend import PastReport, history_page, trend_page
from mipo_bench.reports.pages.page import Page
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import FailureRecord, Report
from mipo_bench.reports.records.report_file import content_digest, parse_report, to_json
from mipo_bench.reports.render.csv_table import to_csv
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import page_to_markdown
from mipo_bench.reports.render.terminal import draw

_MOST = 6
"""Entries that a seed keeps of each list: small reports are fast."""
_JUDGE: dict[str, Any] = {
    **{"task": "persona", "name": "j", "kind": "server", "digest": "d", "protocol": "pairwise", "temperature": 0.1},
    **{"top_p": None, "calls": 10, "settled": 1, "retries": 0, "unread": 1, "validation": None, "warnings": []},
    "consistency": {
        **{"n_items": 4, "n_clusters": 2, "consistent": 0.5, "first_share": 0.5, "first_p": 1, "kappa": None},
        **{"kappa_low": None, "kappa_high": None, "n_retest": 0, "retest_agreement": None},
    },
    "arms": [
        {
            **{"method": "mipo-random", "win_rate": 0.5, "wins": 1, "ties": 1, "losses": 1, "reversals": 0},
            **{"strict": 0.5, "mean_tokens": 4, "reference_tokens": 5, "length_controlled": None, "length_low": None},
            **{"length_high": None, "length_slope": None, "undecided": 0, "warnings": []},
        }
    ],
}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(part) for part in value[:_MOST]]
    return {k: _short(v) for k, v in value.items()} if isinstance(value, dict) else value


@cache
def seeds() -> tuple[dict[str, Any], ...]:
    """Reports of this schema and of an older one, with all their blocks."""
    failure = FailureRecord(task="t", method="m", train_seed=1, stage="training", error="E", message="lost")
    made = Made(n_math=3, n_users=3, failures=[failure]).report()
    whole = json.loads((ROOT / "mipo-bench-report" / "report.json").read_text())
    short = {
        k: _short(v) if k not in ("tasks", "comparisons", "estimates") else [*map(_short, v)] for k, v in whole.items()
    }
    files = (GOLDEN / "show" / "report.json", TESTS / "reports" / "report_1x" / "report.json")
    found = [json.loads(to_json(made)), short | {"judges": [_JUDGE]}, *(json.loads(f.read_text()) for f in files)]
    return tuple(sealed(values) for values in found)


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"digest": content_digest(values)}


def report_text(rng: Random) -> str:
    """The text of a changed report, most often with the digest of its new content."""
    values = changed(rng.choice(seeds()), rng)
    if isinstance(values, dict) and rng.random() < 0.9:
        with suppress(ValueError):  # a number that is not JSON
            values = sealed(values)
    text = json.dumps(values)
    return damaged(text.encode(), rng).decode(errors="replace") if rng.random() < 0.05 else text


def read_report(_: Path, text: str) -> None:
    """Read the report and use it for all that a report is used for."""
    report = parse_report(text, "report.json")
    pages = [report_page(report)]
    past = [PastReport("a", "2026-01-02", "x", report), PastReport("b", "2026-01-03", "y", _good())]
    arm = next((f"{e.task}/{e.method}" for e in report.estimates), "t/m")
    pages.append(history_page(past))
    with suppress(UserError):
        pages.append(trend_page(past, arm))
    with suppress(UserError):
        pages.append(_diff(report))
    assert_harmless(to_csv(report))
    for page in pages:
        assert_harmless(page_to_markdown(page).replace("\u200b", ""))
        assert page_to_latex(page).isascii()
        out = io.StringIO()
        draw(page, Console(file=out, width=80, highlight=False, force_terminal=False))
        assert_harmless(out.getvalue())
    text = to_json(report)
    assert to_json(parse_report(text, "again")) == text


@cache
def _good() -> Report:
    return Made(n_math=3, n_users=3).report()


def _diff(report: Report) -> Page:
    found = diff_reports(Side(_good(), "a"), Side(report, "b"), DiffOptions({}, ()))
    gate = Gate("regression", {})
    result = apply_gate(found, gate)
    json.loads(diff_to_json(found, gate, result, None))
    return diff_page(found, gate, result, None)


def assert_harmless(text: str) -> None:
    """Nothing in the text controls a terminal."""
    wrong = {c for c in text if c != "\n" and not c.isprintable()}
    assert not wrong, f"control characters {wrong!r}"
