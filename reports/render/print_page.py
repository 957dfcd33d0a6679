"""Prints a page to standard output in the format of `--format`. All commands that print pages use it."""

from __future__ import annotations

import sys
from typing import Literal

from rich.console import Console

from mipo_bench.reports.pages.page import Page
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import page_to_markdown
from mipo_bench.reports.render.terminal import draw


def print_page(page: Page, form: Literal["terminal", "markdown", "latex"] = "terminal") -> None:
    """Print a page; `form` is one of the formats of `--format` that render pages."""
    if form == "terminal":
        draw(page, Console(highlight=False))
    else:
        sys.stdout.write((page_to_markdown if form == "markdown" else page_to_latex)(page))
