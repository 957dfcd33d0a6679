"""Benchmark: the HTML report of large runs in Chromium. By hand, from the root of the checkout:

    PYTHONPATH=tests/support:tests/html_report/support OMP_NUM_THREADS=1 python tests/benchmarks/bench_html.py

For 300 items, and 20,000 items with short and with long responses of 10 arms: size, seconds to write, seconds until the
list is there, seconds until the first page after a filter and after a search, and memory of the browser's renderers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil
from browsing import FLAGS, drawn, go
from large_report import large_report, large_texts

from mipo_bench.reports.html.report import report_to_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIZES = {
    "300 items, 150 words": (300, 150),
    "20,000 items, 12 words": (20_000, 12),
    "20,000 items, 150 words": (20_000, 150),
}
LIST = "#/items?task=arithmetic&base=plain&method=mipo-random"


def main() -> None:
    """Print a row for each size."""
    print("| report (10 arms) | MiB | write, s | open, s | filter, s | search of all texts, s | renderers, MiB |")
    print("|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder, chromium() as browser:
        for name, (items, words) in SIZES.items():
            file = Path(folder) / "report.html"
            size, seconds = write(file, items, words)
            cells = [f"{size:.1f}", f"{seconds:.1f}", *measure(browser, file)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def write(file: Path, items: int, words: int) -> tuple[float, float]:
    """MiB of the file, and seconds to pack the texts and to write it."""
    report = large_report(items, 7)
    start = time.monotonic()
    file.write_text(report_to_html(report, large_texts(report, words)), encoding="utf-8")
    return file.stat().st_size / 2**20, time.monotonic() - start


def measure(browser: Browser, file: Path) -> list[str]:
    """Seconds to open, to filter and to search, and MiB of the renderers at the end."""
    page = browser.new_page()
    page.set_default_timeout(300_000)
    times = []
    start = time.monotonic()
    page.goto(file.as_uri() + LIST)
    drawn(page)
    times.append(time.monotonic() - start)
    for more in ("&show=regressed&sort=worst", "&q=no+text+has+this"):
        start = time.monotonic()
        go(page, LIST + more)
        times.append(time.monotonic() - start)
    memory = renderers()
    page.close()
    return [*(f"{seconds:.2f}" for seconds in times), f"{memory:.0f}"]


def renderers() -> float:
    """Resident MiB of the renderers of this process's browser."""
    children = psutil.Process().children(recursive=True)
    sizes = [int(child.memory_info().rss) for child in children if "--type=renderer" in child.cmdline()]
    return sum(sizes) / 2**20


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS])
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
