"""The documents point at files that exist, and README quotes the committed report."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from golden_files import run

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "harness").rglob("*.md")])


def links(text: str) -> list[str]:
    """The targets of all links to files of this repository, without their anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return [target.partition("#")[0] for target in found if "://" not in target and not target.startswith("#")]


def test_links_are_found() -> None:
    assert links("[a](b.md#c) and [d](https://e.org) and [f](#g)\n```\n[h](i)\n```\n") == ["b.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    missing = [t for t in links(document.read_text(encoding="utf-8")) if not (document.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_scripts_and_yaml_of_the_documents_can_be_parsed(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for kind, block in re.findall(r"^```(bash|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "yaml":
            list(yaml.safe_load_all(block))
        else:
            subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / target).resolve() for target in links((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert [page.name for page in (ROOT / "docs").rglob("*.md") if page.resolve() not in linked] == []


@pytest.mark.parametrize(("page", "least"), [("README.md", 10), ("docs/reading-a-report.md", 30)])
def test_the_committed_report_is_quoted_as_it_is(
    page: str, least: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = {line.rstrip() for line in run(f"show {ROOT / 'mipo-bench-report'}", capsys).out.splitlines()}
    blocks = re.findall(r"^```\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    tables = [
        b for b in blocks if not b.startswith("mipo-bench ") and "┌" not in b and ("───" in b or page != "README.md")
    ]
    quoted = [line for block in tables for line in block.splitlines() if line and set(line) != {"─"}]
    assert len(quoted) > least
    assert [line for line in quoted if line not in shown] == []
