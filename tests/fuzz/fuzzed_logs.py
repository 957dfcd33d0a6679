"""Changed logs of other programs, for `mipo-bench compare`: from the logs that the programs themselves wrote."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fuzzed_readers import Fuzzed
from mutations import changed, damaged, file_of
from paths import ROOT

from mipo_bench.reports.logs.record import Choice
from mipo_bench.reports.render.markdown import page_to_markdown
from mipo_bench.reports.score_files.compare import Pairing, Settings, compare_scores
from mipo_bench.reports.score_files.listing import listing_page

LOGS = ROOT / "tests/logs/data"
SMALL = next((LOGS / "lm_eval/org__small").glob("results_*.json")).name
SAMPLES = SMALL.replace("results_", "samples_made_sums_").replace(".json", ".jsonl")
DETAILS = next((LOGS / "lighteval/details/org/small").rglob("*.parquet")).relative_to(LOGS).as_posix()
TABLE = "question,score,who\r\nq1,0.5,u\r\nq2,1,v\r\nq3,0,v\r\n"
SETTINGS = Settings("micro", "drop", None, 0.05, 0)


def json_file(rng: Random, path: Path) -> bytes:
    """A changed JSON document, or one whose bytes are damaged."""
    data = path.read_bytes()
    return damaged(data, rng) if rng.random() < 0.2 else json.dumps(changed(json.loads(data), rng)).encode()


def json_lines(rng: Random, path: Path) -> bytes:
    return file_of([json.loads(line) for line in path.read_text().splitlines()], rng)


def archive(rng: Random) -> bytes:
    """An inspect_ai archive: a real one that is damaged, or one that holds a changed log."""
    if rng.random() < 0.3:
        return damaged((LOGS / "inspect_ai/base.eval").read_bytes(), rng)
    log: Any = changed(json.loads((LOGS / "inspect_ai/base.json").read_text()), rng)
    samples = log.pop("samples", None) if isinstance(log, dict) else log
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("summaries.json", json.dumps(samples))
        members.writestr("header.json", json.dumps(log))
    return stream.getvalue()


def read_log(folder: Path, data: bytes, *, name: str, beside: str = "", choice: Choice) -> None:
    """List the file, in a copy of the folder `beside` if it is one of several, and compare it with a value."""
    place = folder / "log"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(LOGS / beside, place) if beside else place.mkdir()
    (place / name).write_bytes(data)
    target = place if beside else place / name
    page_to_markdown(listing_page([target], choice))
    compare_scores([target], choice, SETTINGS, Pairing(against=0.5))


def _of(name: str, make: Any, choice: Choice, *, beside: str = "", weight: int = 1) -> Fuzzed:
    return Fuzzed(make, partial(read_log, name=name, beside=beside, choice=choice), weight)


def _json(path: str) -> Any:
    return partial(json_file, path=LOGS / path)


CHOICE = Choice(allow_missing=True)
MATCH = Choice("match", allow_missing=True)
SUMS = Choice("acc", task="made_sums", allow_missing=True)
EXACT = Choice("exact_match", allow_missing=True)
COLUMNS = Choice(columns={"item": "question", "user": "who"}, allow_missing=True)
LOG_READERS: dict[str, Fuzzed] = {
    "tables": _of("t", lambda rng: damaged(TABLE.encode(), rng), COLUMNS, weight=4),
    "inspect_ai .json": _of("log.json", _json("inspect_ai/base.json"), MATCH),
    "inspect_ai .eval": _of("log.eval", archive, MATCH),
    "lm-eval results": _of(SMALL, _json(f"lm_eval/org__small/{SMALL}"), SUMS, beside="lm_eval/org__small"),
    "lm-eval samples": _of(
        SAMPLES, partial(json_lines, path=LOGS / "lm_eval/org__small" / SAMPLES), SUMS, beside="lm_eval/org__small"
    ),
    "promptfoo": _of("results.json", _json("promptfoo/results.json"), CHOICE),
    "HELM statistics": _of(
        "per_instance_stats.json", _json("helm/small/per_instance_stats.json"), EXACT, beside="helm/small"
    ),
    "HELM run": _of("run_spec.json", _json("helm/small/run_spec.json"), EXACT, beside="helm/small"),
    "lighteval": _of(
        "d.parquet", lambda rng: damaged((LOGS / DETAILS).read_bytes(), rng), Choice("acc", allow_missing=True)
    ),
}
