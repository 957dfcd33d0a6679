"""Rows of data for lm-eval's own definitions, made from the fields that each definition uses. No network is needed.

The fields are read off templates and functions. Their types are found by trying: an error names the field that lacks
or has the wrong type, and rows that served one definition are tried first on its neighbours.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import jinja2
from datasets import Dataset
from definitions.given_rows import COLOURS, HINTS, Row
from jinja2 import meta, nodes
from lm_eval.api.task import ConfigurableTask

Chains = dict[str, set[str]]
"""Field -> its subfields."""
_TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix", "use_prompt")
_FUNCTIONS = (*_TEMPLATES, "process_docs", "process_results")
SPLITS = ("train", "validation", "test", "dev")
_TRIES = 60
_ENV = jinja2.Environment(autoescape=False)


def on_rows(task_class: type[Any], rows: list[Row]) -> type[Any]:
    """The class of a task whose data are these rows, in every split that it names."""

    class OnRows(task_class):  # type: ignore[misc]
        """The task on made rows."""

        def download(self, *_: Any, **__: Any) -> None:
            config = self.config
            named = {getattr(config, f"{s}_split") for s in ("training", "validation", "test", "fewshot")}
            named |= {(config.fewshot_config.split if config.fewshot_config else None), *SPLITS}
            data = Dataset.from_list(rows)
            self.dataset = {split: data for split in named if split}

    return OnRows


def load(config: Mapping[str, Any], rows: list[Row]) -> Any:
    """lm-eval's task of a definition on these rows. Its functions are resolved already."""
    values = {k: v for k, v in deepcopy(dict(config)).items() if k not in ("tag", "group", "task_list", "class")}
    values["metadata"] = values["metadata"] if isinstance(values.get("metadata"), dict) else {}
    if "class" not in config:
        return on_rows(ConfigurableTask, rows)(config={**values, "custom_dataset": None})
    made = on_rows(config["class"], rows)
    task = made(config=values) if "config" in inspect.signature(config["class"].__init__).parameters else made()
    task.config.task = config["task"]
    return task


@dataclass
class FieldUse:
    """The fields of a definition with their subfields; those that are lists, of the target, or filters with values."""

    chains: Chains = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    golds: set[str] = field(default_factory=set)
    filtered: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, part: str | None = None) -> None:
        self.chains.setdefault(name, set()).update([part] if part else [])


def fields_of(config: Mapping[str, Any]) -> FieldUse:
    """The fields of all templates and functions of a definition."""
    use = FieldUse()
    values = [config.get(name) for name in _FUNCTIONS]
    shots = config.get("fewshot_config")
    values += [shots.get(name) for name in _FUNCTIONS] if isinstance(shots, Mapping) else []
    for value in values:
        if isinstance(value, str):
            _of_template(value, use)
        elif callable(value):
            function = getattr(value, "func", value)
            source = inspect.getsource(inspect.getmodule(function) or function)
            _of_source(source, use)
            _of_filters(source, getattr(value, "keywords", {}), use)
    target = FieldUse()
    if isinstance(config.get("doc_to_target"), str):
        _of_template(config["doc_to_target"], target)
    use.golds = set(target.chains) | {name for name in use.chains if re.search("answer|label|gold|target", name, re.I)}
    if "class" in config:
        _of_source(inspect.getsource(config["class"]), use)
    return use


def _of_template(text: str, use: FieldUse) -> None:
    tree = _ENV.parse(text)
    for name in meta.find_undeclared_variables(tree):
        use.add(name)
    if re.fullmatch(r"\w+", text):
        use.add(text)
    used: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    for node in used:
        part = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        if isinstance(node.node, nodes.Name) and node.node.name in use.chains:
            if isinstance(part, int):
                use.lists.add(node.node.name)
            elif part and part not in dir(str) and part not in dir(list) and part not in dir(dict):
                use.add(node.node.name, part)
    for loop in tree.find_all(nodes.For):
        if isinstance(loop.iter, nodes.Name):
            use.lists.add(loop.iter.name)


def _of_source(source: str, use: FieldUse) -> None:
    for node in ast.walk(ast.parse(inspect.cleandoc("\n" + source) if source[:1].isspace() else source)):
        key = _key(node)
        if key is None:
            continue
        outer = _key(node.value) if isinstance(node, ast.Subscript) else None
        use.add(*([outer, key] if outer else [key]))


def _of_filters(source: str, keywords: Mapping[str, Any], use: FieldUse) -> None:
    """The values that fields are compared with: constants, and those of a `functools.partial`, also in an f-string."""
    given = [str(value) for value in keywords.values()]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
            continue
        name, other = _key(node.left), node.comparators[0]
        if isinstance(other, ast.Constant) and name:
            use.filtered.setdefault(name, []).append(str(other.value))
        elif given:
            first = other.values[0] if isinstance(other, ast.JoinedStr) else None
            start = str(first.value) if isinstance(first, ast.Constant) else ""
            names = [name] if name else [n for n in use.chains if re.search("subject|categor|domain", n, re.I)]
            for each in names:
                use.filtered.setdefault(each, []).extend(start + value for value in given)


def _key(node: ast.AST) -> str | None:
    """The name in `x["name"]` and `x.get("name")`."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        found = node.slice.value
        return found if isinstance(found, str) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


_GOLDS = ("A", "1", 1, 0, "a", "0", "yes", "True", "red")
_WORDS: dict[str, list[Any]] = {
    "text": COLOURS,
    "label": ["A", "B", "C", "D"],
    "labels": [1, 0, 0, 0],
}
_LISTS = ("choices", "options", "endings", "candidates", "distractors", "answers", "turns", "choice", "labels")
_NUMBERS = ("label", "gold", "idx", "index", "answer_idx", "num", "year", "cop", "answer_index", "correct", "id")


def candidates(name: str, use: FieldUse) -> list[Any]:
    """Values to try for a field, the likeliest first."""
    parts = {part: _WORDS.get(part, "red") for part in sorted(use.chains.get(name, ()))}
    words = list(COLOURS)
    values: list[Any] = ["red", 0, words, "A", "1", [0], 1, True, 0.5, ["A"], [words], "['red', 'green', 'blue']", "{}"]
    if name in use.lists or name.lower() in _LISTS:
        values = [words, *[v for v in values if v != words]]
    elif name.lower() in _NUMBERS:
        values = [0, "red", "A", *[v for v in values if v not in (0, "red", "A") or isinstance(v, bool | float)]]
    elif name.lower() in ("answerkey", "answer_key", "correct_option"):
        values = ["A", *[v for v in values if v != "A"]]
    nested = [parts, [parts] * 4, dict.fromkeys(parts, words), {p: [words] for p in parts}] if parts else []
    return [*nested, *values]


@dataclass
class Maker:
    """Finds rows on which `serves` succeeds; `kept` are rows that served other definitions of the same folder.

    A definition whose fields are those of one that failed, with the error in `failed`, is tried on one more row alone.
    """

    serves: Callable[[Any, list[Row]], None]
    kept: dict[str, list[Row]] = field(default_factory=dict)
    failed: dict[tuple[str, str], Exception] = field(default_factory=dict)

    def rows(self, folder: str, config: Mapping[str, Any], count: int) -> list[Row]:
        """The rows of a definition. Raises the error of the last try."""
        use = fields_of(config)
        given = HINTS.get(folder, [])
        kept = [row | {name: values[0]} for row in self.kept.get(folder, ()) for name, values in use.filtered.items()]
        for row in [*_unlike([*self.kept.get(folder, ()), *kept[:4]], use), *given]:
            if self._error(config, row, count) is None:
                return self._found(folder, row, count)
        same = (folder, repr(sorted(use.chains)))
        if same in self.failed:
            row, error = _first(use), self._error(config, _first(use), count)
        else:
            row, error = self._search(config, use, count)
        if error is None:
            return self._found(folder, row, count)
        raise self.failed.setdefault(same, error)

    def _search(self, config: Mapping[str, Any], use: FieldUse, count: int) -> tuple[Row, Exception | None]:
        """Change one field at a time, and keep a change that leads to an error that was not seen before."""
        row = _first(use)
        error = self._error(config, row, count)
        seen, tries = {_signature(error)}, 0
        while error is not None and tries < _TRIES:
            for changed in _changes(row, error, use):
                tries += 1
                found = self._error(config, changed, count)
                if found is None or _signature(found) not in seen:
                    row, error = changed, found
                    seen.add(_signature(found))
                    break
                if tries >= _TRIES:
                    return row, error
            else:
                return row, error
        return row, error

    def _error(self, config: Mapping[str, Any], row: Row, count: int) -> Exception | None:
        try:
            self.serves(config, several(row, count))
        except Exception as error:  # noqa: BLE001 - any function of any definition may fail in any way
            return error
        return None

    def _found(self, folder: str, row: Row, count: int) -> list[Row]:
        others = [r for r in self.kept.get(folder, []) if r != row]
        self.kept[folder] = [row, *others][:8]
        return several(row, count)


def _signature(error: Exception | None) -> str:
    """The kind of an error, without the values in it."""
    return "" if error is None else f"{type(error).__name__}: {re.sub(r'0x[0-9a-f]+|lm-eval:[^ ]+', '', str(error))}"


def _first(use: FieldUse) -> Row:
    """Each field with its likeliest value. A subfield is no field of its own."""
    tops = {part for parts in use.chains.values() for part in parts}
    names = [name for name in use.chains if name not in tops or use.chains[name]] or list(use.chains)
    return {name: deepcopy(candidates(name, use)[0]) for name in names}


def _changes(row: Row, error: Exception, use: FieldUse) -> Iterator[Row]:
    """The rows to try after an error: with a field more, then with another value of a field that it blames, or any."""
    message = str(error)
    missing = re.search(r"'(\w+)' is undefined|^'(\w+)'$|KeyError: '(\w+)'|no field '(\w+)'", message)
    name = next((group for group in missing.groups() if group), None) if missing else None
    if name and name not in row:
        yield {**row, name: deepcopy(candidates(name, use)[0])}
    if "out of bounds for size 0" in message:
        yield from ({**row, name: value} for name, values in use.filtered.items() for value in values)
    if "is not in list" in message or isinstance(error, KeyError):
        wrong = {name for name, value in row.items() if str(value) and str(value) in message}
        yield from ({**row, name: value} for name in sorted(wrong | use.golds & set(row)) for value in _GOLDS)
    names = sorted(row, key=lambda n: (n not in use.golds if "gold" in message else n not in message, n))
    if "gold" in message and (options := re.search(r"none of the options (.*?) in the first", message)):
        texts = re.findall(r"'([^']*)'", options[1])
        for name in [n for n in names if n in use.golds]:
            yield from ({**row, name: value} for value in (*texts[:1], 0, "0"))
    for name in names:
        yield from ({**row, name: deepcopy(value)} for value in candidates(name, use) if value != row[name])


def _unlike(rows: Iterable[Row], use: FieldUse) -> list[Row]:
    """Kept rows, those first that lack the fewest fields of the definition."""
    wanted = set(use.chains)
    return sorted(rows, key=lambda row: len(wanted - set(row)))


def several(row: Row, count: int) -> list[Row]:
    """Copies of a row whose texts differ, so that documents differ."""
    return [{name: f"red {n}" if n and value == "red" else value for name, value in row.items()} for n in range(count)]
