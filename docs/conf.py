"""The documentation site: `make docs` builds it from the Markdown files of the repository, as they are.

The sources hold no directive: the tree of pages is the list below, and links between files become links between pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

from mipo_bench.harness.cli import program

ROOT = Path(__file__).parents[1]
START = "README"
READING = "docs/reading-a-report"
EXAMPLE = "example-report.html"
"""The committed report as a page of its own, for the reader of READING to click through."""
TREE = {
    "Tutorials": [
        *("tutorial", "tutorial-judged-task", "tutorial-lm-eval-task"),
        *("tutorial-own-baseline", "tutorial-own-recipe"),
        *("tutorial-real-model", "tutorial-own-engine", "tutorial-ci-gate"),
    ],
    "Reading results": ["reading-a-report", "html-report", "compare", "statistics", "guards", "mutual-information"],
    "Running": ["protocol", "methods", "data", "preferences", "answers", "judges", "backends", "store", "scale*"],
    "Reference": [
        "configuration",
        "command-line",
        "report-json",
        "report-json-keys",
        "python-api",
        "plugins",
        "/CHANGELOG",
    ],
    "More": ["evidence/*/*", "/mipo-bench-report/report", "/harness/embedded/README"],
    "Development": ["/CONTRIBUTING", "development/*"],
}
"""Caption -> pages in `docs/`, or patterns of them. A pattern may match nothing; a page must be there. Pages of `docs/`
that stand nowhere here come under More."""

project = "mipo-bench"
author = "The mipo-bench developers"
release = version = installed("mipo-bench")
copyright = f"{datetime.now(UTC).year}, {author}"  # noqa: A001 - the name that Sphinx reads
extensions = ["myst_parser"]
root_doc = START
include_patterns = ["*.md", "docs/**.md", "harness/embedded/README.md", "mipo-bench-report/report.md"]
exclude_patterns = [".*", "build", "dist", "tests", "baselines", "reports", "tasks", "**/node_modules"]
templates_path = ["_templates"]
highlight_language = "none"  # of blocks that name no language: output and diagrams
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"mipo-bench {release}"
html_additional_pages = {"index": "to_the_start.html"}
html_copy_source = False
html_show_sphinx = False


def entries(names: list[str]) -> list[str]:
    """The pages behind names and patterns, as absolute names of documents."""
    found = []
    for name in names:
        pages = sorted((ROOT / "docs").glob(f"{name}.md")) if "*" in name else [ROOT / "docs" / f"{name}.md"]
        found += [name] if name.startswith("/") else [document(page) for page in pages]
    return found


def document(page: Path) -> str:
    """The absolute name of a document."""
    return f"/{page.relative_to(ROOT).with_suffix('').as_posix()}"


def tree() -> dict[str, list[str]]:
    """Caption -> documents, with those that TREE does not name."""
    named = {caption: entries(names) for caption, names in TREE.items()}
    known = {name for names in named.values() for name in names}
    named["More"] += sorted({document(page) for page in (ROOT / "docs").rglob("*.md")} - known)
    return named


def complete(_app: Sphinx, name: str, source: list[str]) -> None:
    """Append the tree of pages to the start page, and link the example where its page has a comment for it."""
    if name == START:
        for caption, names in tree().items():
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
    if name == READING:
        source[0] = source[0].replace("<!-- example -->", f'<a href="../{EXAMPLE}">The example in a browser</a>')


def write_example(app: Sphinx, error: Exception | None) -> None:
    """Write the committed report beside the pages, as `mipo-bench html` does."""
    if error is None and app.builder.format == "html":
        page = Path(app.outdir) / EXAMPLE
        program()(["html", str(ROOT / "mipo-bench-report"), "--out", str(page)], standalone_mode=False)


def setup(app: Sphinx) -> None:
    """Connect both to the build; Sphinx calls this."""
    app.connect("source-read", complete)
    app.connect("build-finished", write_example)
