"""Opens HTML reports from disk in Chromium, and notes what a report must never do: requests, messages, dialogs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.core.hashing import digest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Visit:
    """A callable that opens a page at an address behind "#" in a fresh context."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.contexts: list[BrowserContext] = []

    def __call__(self, report: str | Path, address: str = "", **options: Any) -> Page:
        """`report` is the text of a page or its file; `options` are those of the browser's context."""
        file = report if isinstance(report, Path) else self.folder / f"{digest([report])[:16]}.html"
        if isinstance(report, str) and not file.exists():
            file.write_text(report, encoding="utf-8")
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(f"{file.as_uri()}{'#' if address else ''}{address}")
        if options.get("java_script_enabled", True):
            drawn(page)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def drawn(page: Page) -> None:
    """Wait until the sample browser shows a list, an item or a message; pages without one are ready at once."""
    page.wait_for_function(
        "() => !document.getElementById('browser') || document.querySelector("
        "'#browser form, #browser #item-title, #browser .warning')"
    )


def go(page: Page, address: str) -> None:
    """Change the address behind "#" and wait for the sample browser."""
    page.evaluate(
        """async (address) => {
            const host = document.getElementById("browser");
            const changed = new Promise((done) => new MutationObserver(done).observe(host, { childList: true }));
            location.hash = address;
            await changed;
        }""",
        address,
    )
    drawn(page)


def listed(page: Page) -> list[str]:
    """The ids of the items in the list."""
    return page.locator("a.item").all_text_contents()


def counted(page: Page) -> int:
    """The number of items that fit the filters."""
    found = re.match(r"(\d+) of \d+ items", page.locator("#browser [aria-live]").text_content() or "")
    assert found
    return int(found[1])
