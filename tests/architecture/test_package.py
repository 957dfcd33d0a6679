"""Wheel and sdist hold the files that the package needs and no others; the wheel works where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.metadata import Metadata
from paths import ROOT

pytestmark = pytest.mark.slow

PARTS = ("harness", "tasks", "baselines", "reports")
COPIED = (*PARTS, "tests", "docs", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
NEEDED = {
    "harness/embedded/model/model.safetensors",
    "harness/config/run.schema.json",
    "harness/exchange/model_card.md.jinja",
    "harness/plugins/skeletons/math.py.jinja",
    "reports/records/report.schema.json",
    "reports/html/page.js",
    *(f"{part}/py.typed" for part in PARTS),
}


@dataclass(frozen=True)
class Built:
    """The source distribution, and the wheel that was built from it."""

    sdist: Path
    wheel: Path

    def metadata(self) -> str:
        """The metadata of the wheel, as text."""
        with zipfile.ZipFile(self.wheel) as archive:
            [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
            return archive.read(name).decode()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both distributions, built without a network from a copy, so that the checkout keeps no build folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(next(out.glob("*.tar.gz")), next(out.glob("*.whl")))


@dataclass(frozen=True)
class Installed:
    """An environment of its own that has the wheel, and takes all other packages from this one."""

    folder: Path

    def run(self, *command: str, cwd: Path) -> str:
        """Run a program of the environment, which must succeed; its output."""
        place = [str(self.folder / "bin" / command[0]), *command[1:]]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "80"}
        done = subprocess.run(place, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in a fresh environment. The packages of this one come behind it, without their .pth files."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(built.wheel)], check=True, capture_output=True, timeout=300)
    shared = [entry for entry in sys.path if entry.endswith("site-packages")]
    [own] = folder.glob("lib/python*/site-packages")
    (own / "shared.pth").write_text("\n".join(shared) + "\n")
    return Installed(folder)


def names(built: Built) -> tuple[set[str], set[str]]:
    """The files in the sdist, relative to its folder, and those in the wheel."""
    with tarfile.open(built.sdist) as archive:
        source = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    with zipfile.ZipFile(built.wheel) as archive:
        return source, set(archive.namelist())


def test_both_hold_every_source_and_nothing_else(built: Built) -> None:
    on_disk = {
        str(f.relative_to(ROOT))
        for part in PARTS
        for f in (ROOT / part).rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }
    assert on_disk >= NEEDED
    source, wheel = names(built)
    assert {name.removeprefix("mipo_bench/") for name in wheel if name.startswith("mipo_bench/")} == on_disk
    about = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "setup.cfg"}
    assert {name for name in source if not name.startswith("mipo_bench.egg-info/")} == on_disk | about
    others = {name for name in wheel if not name.startswith("mipo_bench/")}
    assert {name.partition("/")[0].rpartition(".")[2] for name in others} == {"dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in others)


def test_the_metadata_is_valid_and_its_description_renders(built: Built) -> None:
    text = built.metadata()
    metadata = Metadata.from_email(text)  # raises for a field that an index would refuse
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (metadata.name, str(metadata.version)) == (project["name"], project["version"])
    assert metadata.license_expression == "MIT"
    assert {str(extra) for extra in metadata.provides_extra or ()} == set(project["optional-dependencies"])
    message = message_from_string(text)
    assert message["Description-Content-Type"] == "text/markdown"
    page = MarkdownIt("commonmark").enable("table").render(str(message.get_payload()))
    assert "<h1>mipo-bench</h1>" in page
    assert page.count("<table>") == (ROOT / "README.md").read_text().count("\n|---|")


def test_the_main_job_runs_from_the_installed_wheel(installed: Installed, tmp_path: Path) -> None:
    where = installed.run("python", "-c", "from mipo_bench.harness import cli; print(cli.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.folder)
    out = installed.run(
        *("mipo-bench", "run", "--suite", "choice", "--limit", "4", "--recipes", "none"),
        *("--set", "threads=1", "--set", "processes=1"),
        cwd=tmp_path,
    )
    assert "facts (choice): 4 items" in out
    assert (tmp_path / "mipo-bench-report" / "report.json").exists()
    installed.run("mipo-bench", "new-task", "mine", cwd=tmp_path)
    installed.run("mipo-bench", "new-config", cwd=tmp_path)
    schema = (tmp_path / "run.yaml").read_text().partition("$schema=")[2].partition("\n")[0].strip()
    assert Path(schema.removeprefix("file://")).is_relative_to(installed.folder)
    installed.run("mipo-bench", "html", cwd=tmp_path)
    assert "Content-Security-Policy" in (tmp_path / "report.html").read_text()
