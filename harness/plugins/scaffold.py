"""Writes the files of a new plugin from skeletons; shared by `new-task`, `new-baseline` and `new-recipe`."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mipo_bench.harness.errors import ConfigError, StorageError
from mipo_bench.harness.plugins.protocol_checks import PluginKind, name_problem
from mipo_bench.harness.plugins.registry import load_plugins

_SKELETONS = Path(__file__).parent / "skeletons"


def write_files(folder: Path, skeletons: Mapping[Path, str], values: Mapping[str, str]) -> None:
    """Write each path, which is in `folder`, from its skeleton. The plugin comes first; missing folders are created.

    Raises ConfigError if a file exists, or the plugin would hide a Python module, and then writes nothing;
    StorageError if the files cannot be written.
    """
    for path in skeletons:
        if path.exists():
            raise ConfigError(f"{path} exists and is not overwritten. Choose another name or --out FOLDER.")
    plugin = next(iter(skeletons))
    if plugin.suffix == ".py" and (hidden := _hidden_module(plugin.stem)):
        raise ConfigError(
            f"{plugin.name} would hide the Python module {plugin.stem!r} ({hidden}). Choose another name."
        )
    texts = {path: _render(skeleton, {**values, "split": path.stem}) for path, skeleton in skeletons.items()}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error}. Choose another with --out FOLDER.") from error


def check_name(kind: PluginKind, name: str) -> None:
    """Raise ConfigError if a new plugin of the kind cannot have this name."""
    if problem := name_problem(name):
        raise ConfigError(f"the {problem}.")
    if re.match(r"(test|conftest)\b|test_", name):
        raise ConfigError(f"the name {name!r} looks like a test file, which is never loaded. Choose another.")
    plugins = load_plugins()
    if name in {"task": plugins.tasks, "baseline": plugins.baselines, "recipe": plugins.recipes}[kind]:
        raise ConfigError(f"a {kind} {name!r} is installed already. Choose another name.")


def file_stem(name: str) -> str:
    """The name of a plugin's file without its ending: `word-sums` -> `word_sums`."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def class_name(name: str, kind: PluginKind) -> str:
    """`word-sums` -> `WordSumsTask`. The suffix avoids a clash with Item, Score and other imports."""
    suffix = kind.capitalize()
    words = "".join(word[0].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name) if word)
    return f"{suffix if words[0].isdigit() else ''}{words}{suffix}"


def _hidden_module(stem: str) -> str:
    """The place of an installed module of this name, which Python would no longer find; empty if there is none.

    Modules of the working directory do not count: they are the user's own.
    """
    if stem in sys.stdlib_module_names:
        return "of Python itself"
    try:
        spec = importlib.util.find_spec(stem)
    except ValueError:  # a module that was made without a spec, such as __main__
        return "already imported"
    if spec is None:
        return ""
    places = [Path(place) for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    own = any(place.is_absolute() and place.resolve().parent == Path.cwd().resolve() for place in places)
    return "" if own else str(places[0]) if places else "installed"


def _render(skeleton: str, values: Mapping[str, str]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # noqa: S701 - Python source, not HTML; the values are checked names
        keep_trailing_newline=True, trim_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string((_SKELETONS / skeleton).read_text(encoding="utf-8")).render(values)
