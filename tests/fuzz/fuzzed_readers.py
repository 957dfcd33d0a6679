"""The readers of files and texts that others write, each with a source of changed inputs.

A reader takes an input or refuses it with a UserError of one short message. Any other exception is a fault.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import yaml
from fuzzed_reports import read_report, report_text
from mutations import TEXTS, changed, damaged, file_of, other, prose
from paths import DATA
from score_rows import binary, graded, lm_eval, values, write

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import UserError
from mipo_bench.harness.exchange.responses_file import read_responses
from mipo_bench.harness.gguf.header import read_header
from mipo_bench.harness.judging.to_label import unjudged
from mipo_bench.harness.judging.validation import labels_in
from mipo_bench.harness.judging.verdict_file import file_judge
from mipo_bench.harness.protocols import Question
from mipo_bench.harness.types import Item
from mipo_bench.reports.logs.record import Choice
from mipo_bench.reports.render.markdown import page_to_markdown
from mipo_bench.reports.score_files.compare import Settings, compare_scores
from mipo_bench.reports.score_files.export import compared_to_csv, compared_to_json
from mipo_bench.reports.score_files.table import compare_page
from mipo_bench.tasks.answers import chosen_letter, final_number
from mipo_bench.tasks.public.arc import ArcChallenge
from mipo_bench.tasks.public.community_alignment import CommunityAlignment
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu
from mipo_bench.tasks.public.multifaceted_bench import MultifacetedBench
from mipo_bench.tasks.public.prism import Prism
from mipo_bench.tasks.public.public_task import PublicTask
from mipo_bench.tasks.public.svamp import Svamp

LONGEST_MESSAGE = 6000
"""Characters of a message: it may list twenty problems, and quotes no more than the beginning of a value."""
OPTIONS = ("Paris", "a car", "carbon dioxide", "Yes")
ANSWERS = (
    *("The answer is 18.", "#### 1,234.50", "\\boxed{\\frac{1}{2}}", "Answer: B", "**Answer:** (c)", "5 + 5 = 10"),
    *("- 18 pens", "$12,\\!000", "So it is B or C.", "It is Paris", "<think>Maybe 15.</think>18", "2 million", "C"),
)


@dataclass(frozen=True)
class Fuzzed:
    """A reader: `make` draws a changed input, `read` reads it in a scratch folder.

    `weight` is the share of the inputs that the reader gets by hand: fast readers get more.
    """

    make: Callable[[Random], Any]
    read: Callable[[Path, Any], None]
    weight: int = 1


def was_read(fuzzed: Fuzzed, folder: Path, given: Any) -> bool:
    """Whether the input was read; False if it was refused. Raises the exception of a fault."""
    try:
        fuzzed.read(folder, given)
    except UserError as error:
        message = str(error)
    else:
        return True
    assert message.strip()
    assert len(message) <= LONGEST_MESSAGE, f"a message of {len(message)} characters: {message[:300]}"
    return False


def score_files(rng: Random) -> tuple[bytes, bool]:
    seeds = (
        graded(1)[:12],
        graded(2, 0.1, (0, 1))[:60:5],
        binary(1, 0.4)[:10],
        lm_eval(1, 0.5)[:10],
        values(1, 0.5, 0),
    )
    rows = rng.choice(seeds)
    return file_of(rows, rng), rng.random() < 0.5


def read_scores(folder: Path, given: tuple[bytes, bool]) -> None:
    """Compare the file with itself and with a good one, and print the result in every format."""
    data, is_lm_eval = given
    file, other_file = folder / "method.jsonl", folder / "base.jsonl"
    file.write_bytes(data)
    write(folder, {other_file.name: lm_eval(2, 0.5)[:10] if is_lm_eval else graded(3)[:12]})
    settings = Settings("micro", "drop", 0.1, 0.05, 0)
    found = compare_scores([other_file if b"q1" in data else file, file], Choice(allow_missing=True), settings)
    json.loads(compared_to_json(found), parse_constant=_refuse)
    compared_to_csv(found)
    page_to_markdown(compare_page(found))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


CONFIG = {
    "tasks": ["facts", "persona"],
    "recipes": "none",
    "baselines": "all",
    "model": "embedded",
    "out": "~/report",
    "seeds": 3,
    "alpha": 0.05,
    "train": {"lr": 1e-4, "method": "lora", "batch_size": 4},
    "judge": {"name": "rules", "protocol": "pairwise"},
    "chat": {"template": {"enable_thinking": False}},
    "reference": {"persona": "profile"},
    "backend_args": {"dtype": "float16"},
}


def configurations(rng: Random) -> tuple[bytes, tuple[str, ...]]:
    some = {key: CONFIG[key] for key in rng.sample(list(CONFIG), rng.randint(0, 4))}
    values_ = changed(some, rng)
    text = yaml.safe_dump(values_, allow_unicode=True) if rng.random() < 0.7 else json.dumps(values_)
    data = str(text).encode("utf-8", errors="surrogatepass")
    flat = [*CONFIG, "train.lr", "train.method", "judge.name", "chat.template.x", "cad.weight", "a.b.c"]
    settings = [f"{rng.choice(flat)}={rng.choice((*TEXTS, str(other(1, rng))))}" for _ in range(rng.randrange(3))]
    return (damaged(data, rng) if rng.random() < 0.3 else data), tuple(settings)


def read_configuration(folder: Path, given: tuple[bytes, tuple[str, ...]]) -> None:
    (folder / "run.yaml").write_bytes(given[0])
    load_config(folder / "run.yaml", given[1], {})


RESPONSES = (
    {"item_id": "u3-r1", "arm": "profile", "response": "I go.", "task": "persona", "train_seed": 0, "n_tokens": 4},
    {"item_id": "u3-r2", "arm": "profile", "response": "Yes.", "task": "persona", "train_seed": 1, "n_tokens": 2},
    {"item_id": "7", "arm": "plain", "response": "", "finish": "stop"},
    {"instruction": "Say it.", "output": "It.", "generator": "g"},
    lm_eval(1, 0.5)[0],
)


def some_of(rows: Sequence[Any], rng: Random) -> bytes:
    """A changed file of some of the rows."""
    return file_of(rng.sample(list(rows), rng.randint(1, 2)), rng)


VERDICTS = (
    {"prompt": "p", "context": "c", "rubric": "r", "user": "u", "a": "x", "b": "y", "label": "a"},
    {"prompt": "p", "context": None, "rubric": "r", "a": "x", "b": "z", "label": None},
    {"prompt": "q", "a": "x", "rating": 4},
    {"prompt": "q", "a": "y", "rating": None},
)
LABELS = [row | {"label": label} for row in VERDICTS[:2] for label in ("a", " B", "tie")]


def read_response_file(folder: Path, data: bytes) -> None:
    (folder / "RESPONSES.jsonl").write_bytes(data)
    read_responses(folder / "RESPONSES.jsonl")


def read_verdicts(folder: Path, data: bytes) -> None:
    (folder / "verdicts.jsonl").write_bytes(data)
    file_judge(folder / "verdicts.jsonl")


def read_labels(folder: Path, data: bytes) -> None:
    (folder / "labels.jsonl").write_bytes(data)
    labels_in(folder / "labels.jsonl", None)


def to_judge(rng: Random) -> list[tuple[str, str | None, str, str | None]]:
    """Texts of questions, as models and data sets write them."""

    def text() -> str:
        return prose(ANSWERS, rng).encode("utf-8", errors="replace").decode()  # the store holds no lone surrogates

    return [(text(), rng.choice((None, text())), text(), rng.choice((None, text()))) for _ in range(rng.randint(1, 4))]


def read_to_judge(folder: Path, given: Sequence[tuple[str, str | None, str, str | None]]) -> None:
    """Questions that were written to be labelled, labelled, and read again: no text is lost or broken."""
    questions = [Question(Item("i", p, "", context=c), "rubric", first, second) for p, c, first, second in given]
    text = unjudged(questions).replace('"label": null', '"label": "tie"').replace('"rating": null', '"rating": 3')
    (folder / "to-judge.jsonl").write_bytes(text.encode())
    found = file_judge(folder / "to-judge.jsonl").decide(questions)
    assert [verdict.value for _, verdict in found] == [0.5] * len(questions)


def read_answer(_: Path, text: str) -> None:
    number, letter = final_number(text), chosen_letter(text, OPTIONS)
    assert number is None or isinstance(number, float)
    assert letter is None or letter in "ABCD"


TASKS: dict[str, tuple[type[PublicTask], str]] = {
    "gsm8k": (Gsm8k, "gsm8k"),
    "svamp": (Svamp, "svamp"),
    "mmlu": (Mmlu, "mmlu"),
    "arc": (ArcChallenge, "ai2_arc"),
    "prism": (Prism, "prism"),
    "community_alignment": (CommunityAlignment, "community_alignment"),
    "multifaceted_bench": (MultifacetedBench, "multifaceted_bench"),
}
Files = dict[str, bytes]


@cache
def _files(folder: str) -> Files:
    return {str(f.relative_to(DATA / folder)): f.read_bytes() for f in sorted((DATA / folder).rglob("*.*"))}


def data_files(rng: Random, folder: str) -> Files:
    """The files of a data set, one of them changed."""
    files = _files(folder)
    name = rng.choice([*files])
    data = files[name]
    if rng.random() < 0.2 or name.endswith(".csv"):
        return files | {name: damaged(data, rng)}
    if name.endswith(".json"):
        return files | {name: json.dumps(changed(json.loads(data), rng)).encode()}
    return files | {name: file_of([json.loads(line) for line in data.splitlines()], rng)}


def read_data(folder: Path, files: Files, task: type[PublicTask]) -> None:
    """Build the items of both splits."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    made = task(folder)
    made.items("train")
    made.items("eval")


@cache
def _gguf() -> bytes:
    from real_models import make_gguf

    with tempfile.TemporaryDirectory() as folder:
        make_gguf(file := Path(folder) / "model.gguf")
        return file.read_bytes()


def gguf_file(rng: Random) -> bytes:
    """A small GGUF file, in most cases changed in its header."""
    data, end = _gguf(), rng.choice((200, 1000, 8000))
    return data if rng.random() < 0.05 else damaged(data[:end], rng) + data[end:]


def read_gguf(folder: Path, data: bytes) -> None:
    (folder / "model.gguf").write_bytes(data)
    read_header(folder / "model.gguf")


READERS: dict[str, Fuzzed] = {
    "report.json and renderers": Fuzzed(report_text, read_report, 1),
    "score files": Fuzzed(score_files, read_scores, 8),
    "configuration": Fuzzed(configurations, read_configuration, 6),
    "RESPONSES.jsonl": Fuzzed(partial(some_of, RESPONSES), read_response_file, 16),
    "verdict files": Fuzzed(partial(some_of, VERDICTS), read_verdicts, 16),
    "label files": Fuzzed(partial(some_of, LABELS), read_labels, 12),
    "to-judge files": Fuzzed(to_judge, read_to_judge, 8),
    "GGUF files": Fuzzed(gguf_file, read_gguf, 1),
    "answers": Fuzzed(partial(prose, ANSWERS), read_answer, 24),
    **{
        f"data of {name}": Fuzzed(partial(data_files, folder=folder), partial(read_data, task=task), 1)
        for name, (task, folder) in TASKS.items()
    },
}
