"""The share of lm-eval's own definitions that load, render and score here, on rows made from the fields they use.

Run by hand, without a network:

    OMP_NUM_THREADS=1 python tests/benchmarks/studies/lm_eval_coverage.py  # all definitions, some minutes
    OMP_NUM_THREADS=1 python tests/benchmarks/studies/lm_eval_coverage.py --every 50  # a sample
    OMP_NUM_THREADS=1 python tests/benchmarks/studies/lm_eval_coverage.py --parity  # sixty definitions against lm-eval

A definition counts if its items are rendered and the right answers to three of them get scores. The others are listed
by reason: what this harness refuses, what needs a package or a network, and what no rows were found for, which says
nothing about the definition. `--parity` compares every item, prompt and figure with `lm_eval.simple_evaluate`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import socket
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_ALLOW_CODE_EVAL": "1"}
from definitions.made_rows import Maker, load
from paths import DATA

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import Response
from mipo_bench.tasks.lm_eval import index
from mipo_bench.tasks.lm_eval.task import LMEvalTask

_SHOTS = 3
"""Rows of a definition besides those that its shots take."""
_MOST_SHOTS = 40
_REASONS = (
    (
        "needs another package or version",
        r"SystemExit|No module named|ModuleNotFound|ImportError|is not installed|pip install",
    ),
    (
        "needs a network",
        r"no network|offline|[Cc]ouldn't (find|reach)|LocalEntryNotFound|Connection|not find .* on the",
    ),
    ("images or sounds in its prompts", "images or sounds"),
    ("only metrics of the whole corpus", "whole corpus"),
    ("no figure from 0 to 1", "outside 0 to 1|no number"),
    ("several generated texts", "several texts"),
)


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Stand in for every connection."""
    raise OSError("no network: a connection was tried")


def serves(config: Mapping[str, Any], rows: Sequence[Any]) -> None:
    """Load, render and score a definition on these rows. Raises any error."""
    task = LMEvalTask(load(config, list(rows)))
    items = task.items("eval")
    if not items:
        raise ValueError("no documents")
    for item in items[:3]:
        asked = len(item.continuations or item.options)
        logprobs = tuple(-1.0 - n for n in range(asked)) or None
        task.score(item, Response(item.target, 1, 1, "stop", logprobs, tuple(n == 0 for n in range(asked)) or None))


def reason_of(error: BaseException) -> str:
    """The group of an error."""
    text = f"{type(error).__name__}: {error}"
    found = next((reason for reason, pattern in _REASONS if re.search(pattern, text)), None)
    if found:
        return found
    return "refused: " + re.sub(r"lm-eval:\S+ ", "", str(error))[:90] if _is_refusal(error) else "no rows found"


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, PluginError) and "cannot score its first document" not in str(error)


@dataclass
class Coverage:
    """What came of the definitions that were tried, by output type and by reason."""

    tried: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[str, Any] = field(default_factory=dict)

    def attempt(self, maker: Maker, name: str, path: Path, kind: str) -> None:
        """Try one definition."""
        from lm_eval.tasks._yaml_loader import load_yaml

        folder = path.relative_to(index_folder()).parts[0]
        self.tried[kind] += 1
        try:
            config = load_yaml(path)
            shots = config.get("num_fewshot") or 0
            self.rows[name] = maker.rows(folder, config, _SHOTS + (shots if shots < _MOST_SHOTS else 0))
            self.done[kind] += 1
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a definition may fail in any way, or end the program
            reason = reason_of(error)
            self.reasons[reason].append(f"{folder}/{name}: {type(error).__name__}: {str(error)[:150]}")

    def show(self) -> None:
        """Print the shares and the reasons."""
        for kind, count in self.tried.most_common():
            print(f"{kind:24} {self.done[kind]:6} of {count:6}  {self.done[kind] / count:.1%}")
        done, tried = sum(self.done.values()), sum(self.tried.values())
        print(f"{'all':24} {done:6} of {tried:6}  {done / tried:.1%}")
        for reason, names in sorted(self.reasons.items(), key=lambda pair: -len(pair[1])):
            folders = Counter(name.partition("/")[0] for name in names)
            print(f"{len(names):6} {reason}: " + ", ".join(f"{f} ({c})" for f, c in folders.most_common(12)))


def cover(every: int, out: Path | None) -> None:
    """Try all definitions, or one of so many; Ctrl-C ends with those that were tried."""
    from lm_eval.tasks import TaskManager

    entries = [e for e in TaskManager().task_index.values() if e.kind.name in ("TASK", "PY_TASK")]
    entries = sorted(entries, key=lambda e: str(e.yaml_path))[::every]
    random.Random(0).shuffle(entries)  # those that were tried before Ctrl-C are a fair sample
    maker, found, start = Maker(serves), Coverage(), time.process_time()
    try:
        for n, entry in enumerate(entries, 1):
            kind = "class" if "class" in entry.cfg else entry.cfg.get("output_type", "generate_until")
            found.attempt(maker, entry.name, entry.yaml_path, kind)
            if n % 100 == 0:
                print(f"  {n} of {len(entries)}, {time.process_time() - start:.0f} s", flush=True)
    except KeyboardInterrupt:
        print("stopped")
    found.show()
    if out:
        out.write_text(json.dumps({"rows": found.rows, "reasons": found.reasons}, indent=1))


def index_folder() -> Path:
    """The folder of lm-eval's definitions."""
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


def parity() -> int:
    """Compare the definitions of `tests/data/lm_eval/rows.json`. Returns the number that differ."""
    from definitions.parity import Definition, compare
    from lm_eval.tasks._yaml_loader import load_yaml

    stored = json.loads((DATA / "lm_eval" / "rows.json").read_text())
    definitions = [
        Definition(name, load_yaml(index_folder() / each["file"]), each["rows"]) for name, each in stored.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = compare(definitions, Path(folder))
    for name, problems in found.items():
        print(f"{'differs' if problems else 'equal':8} {name}", *problems[:3], sep="\n         ")
    print(f"{sum(not problems for problems in found.values())} of {len(found)} equal")
    return sum(map(bool, found.values()))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="try one definition of so many")
    parser.add_argument("--out", type=Path, help="write rows and errors to this JSON file")
    parser.add_argument("--parity", action="store_true")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse  # type: ignore[method-assign]
    time.sleep = lambda _: None  # libraries wait before they try again
    from datasets import disable_caching

    disable_caching()
    index.prepare()
    if given.parity:
        return parity()
    cover(given.every, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
