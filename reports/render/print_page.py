"""Prints a page to standard output in the format of `--format`, the only one that is imported.

All commands that print pages use it.
"""

from __future__ import annotations

import sys
from typing import Literal

from mipo_bench.reports.pages.page import Page


def print_page(page: Page, form: Literal["terminal", "markdown", "latex"] = "terminal") -> None:
    """Print a page; `form` is one of the formats of `--format` that render pages."""
    if form == "terminal":
        from rich.console import Console

        from mipo_bench.reports.render.terminal import draw

        draw(page, Console(highlight=False))
    elif form == "markdown":
        from mipo_bench.reports.render.markdown import page_to_markdown

        sys.stdout.write(page_to_markdown(page))
    else:
        from mipo_bench.reports.render.latex import page_to_latex

        sys.stdout.write(page_to_latex(page))
