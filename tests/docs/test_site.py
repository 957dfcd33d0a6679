"""The documentation site: it is built as `make docs` builds it, without a warning and without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from paths import ROOT

pytestmark = pytest.mark.slow
LOADED = {"src", "href", "data", "action", "poster"}
"""Attributes that hold an address. Of links that people click, only those within the site are of interest."""


class Addresses(HTMLParser):
    """The addresses in a page: what it loads by itself, and the links to other pages of the site."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = [value or "" for name, value in attrs if name in LOADED]
        (self.links if tag == "a" else self.loaded).extend(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, by the command of the Makefile."""
    folder = tmp_path_factory.mktemp("site")
    [line] = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = line.replace("build/docs-cache", str(folder / "cache")).replace("build/docs", str(folder / "html"))
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder / "html"


def pages(site: Path) -> dict[Path, Addresses]:
    """The addresses of every page."""
    found = {}
    for page in site.rglob("*.html"):
        found[page] = Addresses()
        found[page].feed(page.read_text(encoding="utf-8"))
    return found


def test_every_markdown_page_is_in_the_site(site: Path) -> None:
    wanted = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    missing = [p.relative_to(ROOT) for p in wanted if not (site / p.relative_to(ROOT).with_suffix(".html")).exists()]
    assert len(wanted) > 25
    assert missing == []


def test_the_site_loads_nothing_from_elsewhere_and_its_links_lead_somewhere(site: Path) -> None:
    for page, addresses in pages(site).items():
        foreign = [a for a in addresses.loaded if re.match(r"(?:https?:)?//", a)]
        assert foreign == [], page
        local = {a.partition("#")[0] for a in addresses.links if not re.match(r"[a-z]+:|//", a)}
        assert [a for a in local if a and not (page.parent / a).exists()] == [], page


def test_users_find_their_pages_first_and_the_example_report(site: Path) -> None:
    start = (site / "README.html").read_text(encoding="utf-8")
    captions = re.findall(r'<span class="caption-text">([^<]+)</span>', start)
    assert captions[0] == "Tutorials"
    assert captions[-1] == "Development"
    assert "url=README.html" in (site / "index.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in (site / "example-report.html").read_text(encoding="utf-8")
    assert 'href="../example-report.html"' in (site / "docs" / "reading-a-report.html").read_text(encoding="utf-8")
