"""One browser for each module: its event loop must not stand in the way of other tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import FLAGS, Visit
from made_reports import Made

from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=[*FLAGS])
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Opens reports; at the end no page may have said anything or asked for anything but files of the report."""
    opened = Visit(browser, tmp_path_factory.mktemp("reports"))
    yield opened
    opened.close()
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith(("file://", "blob:null/"))] == []


@pytest.fixture(scope="module")
def report() -> Report:
    """Two tasks; one arm of each has items that failed, were cut or had no answer."""
    made = Made(n_math=120, n_users=20).report()
    arms = []
    for arm in made.arms:
        items = next(task.items for task in made.tasks if task.name == arm.task)
        lost = {"failed": {items[4]: "generate: lost"}, "unparsed": [items[2]], "truncated": [items[1], items[3]]}
        arms.append(arm.model_copy(update=lost if arm.train_seed == 1 else {}))
    return seal(made.model_copy(update={"arms": arms}))
