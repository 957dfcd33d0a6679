"""Local files of a data set: every layout and format gives the same rows, and a split that is not there is named."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.public.arc import ArcChallenge, ArcEasy
from mipo_bench.tasks.public.community_alignment import CommunityAlignment
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu
from mipo_bench.tasks.public.multifaceted_bench import MultifacetedBench
from mipo_bench.tasks.public.prism import Prism
from mipo_bench.tasks.public.public_task import PublicTask
from mipo_bench.tasks.public.svamp import Svamp

REVISION = Gsm8k.dataset.revision
ROWS = {
    split: [json.loads(line) for line in (DATA / f"gsm8k/main/{split}.jsonl").read_text().splitlines()]
    for split in ("train", "test")
}
Rows = Sequence[dict[str, Any]]


def write_jsonl(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_json(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(rows, indent=2))


def write_csv(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()} for row in rows
        )


def write_parquet(file: Path, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file.with_suffix(".parquet"))


def write_arrow(file: Path, rows: Rows) -> None:
    import pyarrow as pa

    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows))
    with pa.OSFile(str(file.with_suffix(".arrow")), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
}


def written(folder: Path, stem: str, writer: Callable[[Path, Rows], None] = write_jsonl) -> None:
    """Write both splits of gsm8k. `*` in the file name is replaced by the split."""
    for split, rows in ROWS.items():
        writer(folder / f"{stem.replace('*', split)}.x", rows)


EXPECTED = Gsm8k(DATA).items("eval")


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_every_format_gives_the_same_items(writer: Callable[[Path, Rows], None], tmp_path: Path) -> None:
    written(tmp_path, "*", writer)
    task = Gsm8k(tmp_path)
    assert task.items("eval") == EXPECTED
    assert task.data_used()["digest"] == Gsm8k(DATA).data_used()["digest"]


@pytest.mark.parametrize(
    ("stem", "writer"),
    [
        ("main/*", "csv"),
        ("main-*", "jsonl"),
        ("gsm8k/*", "json"),
        ("openai/gsm8k/main/*", "parquet"),
        ("main/*-00000-of-00001", "parquet"),
        ("data/*-00000-of-00001-0123abcd", "parquet"),
        ("*/data-00000-of-00001", "arrow"),
        (f"datasets--openai--gsm8k/snapshots/{REVISION}/main/*-00000-of-00001", "parquet"),
        (f"hub/datasets--openai--gsm8k/snapshots/{REVISION}/main/*-00000-of-00001", "parquet"),
        (f"openai___gsm8k/main/0.0.0/{REVISION}/gsm8k-*", "arrow"),
        (f"datasets/openai___gsm8k/main/0.0.0/{REVISION}/gsm8k-*", "arrow"),
    ],
)
def test_every_layout_is_found(stem: str, writer: str, tmp_path: Path) -> None:
    written(tmp_path, stem, WRITERS[writer])
    assert Gsm8k(tmp_path).items("eval") == EXPECTED


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    import datasets

    saved = datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in ROWS.items()})
    saved.save_to_disk(tmp_path)
    assert Gsm8k(tmp_path).items("eval") == EXPECTED


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.x", ROWS["train"])
    for n, rows in enumerate((ROWS["test"][:2], ROWS["test"][2:5], ROWS["test"][5:])):
        write_parquet(tmp_path / f"test-{n:05d}-of-00003.x", rows)
    assert Gsm8k(tmp_path).items("eval") == EXPECTED
    (tmp_path / "test-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match=r"'test' should be 3 files.*Fetch the missing ones"):
        Gsm8k(tmp_path).items("eval")


def test_another_revision_in_the_cache_is_not_taken_for_the_pinned_one(tmp_path: Path) -> None:
    written(tmp_path, f"datasets--openai--gsm8k/snapshots/{'0' * 40}/main/*")
    with pytest.raises(DataError, match="has no 'test' split of openai/gsm8k"):
        Gsm8k(tmp_path).items("eval")


def test_a_data_set_without_a_pin_is_found_by_the_branch(tmp_path: Path) -> None:
    repository = tmp_path / "datasets--kaist-ai--Multifaceted-Bench"
    shutil.copytree(DATA / "multifaceted_bench", repository / "snapshots" / "abc" / "data")
    with pytest.raises(DataError, match="Multifaceted-Bench"):
        MultifacetedBench(tmp_path).items("eval")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert MultifacetedBench(tmp_path).items("eval") == MultifacetedBench(DATA).items("eval")


def test_a_split_without_its_configuration_is_not_taken_for_that_of_another_task(tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copy(DATA / f"ai2_arc/ARC-Easy-{split}.jsonl", tmp_path / f"{split}.jsonl")
    for task in (ArcEasy, ArcChallenge):
        with pytest.raises(DataError, match=r"Looked for ARC-(Easy|Challenge)/test"):
            task(tmp_path).items("eval")
    (tmp_path / "arc_easy").mkdir()
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").rename(tmp_path / "arc_easy" / f"{split}.jsonl")
    assert ArcEasy(tmp_path).items("eval") == ArcEasy(DATA).items("eval")


@pytest.mark.parametrize("task", [Prism, CommunityAlignment, MultifacetedBench, Mmlu, Svamp, ArcChallenge])
@pytest.mark.parametrize("writer", ["csv", "parquet", "json"])
def test_nested_fields_survive_every_format(task: type[PublicTask], writer: str, tmp_path: Path) -> None:
    for file in (f for f in DATA.rglob("*.*") if f.is_file() and not f.parent.name.startswith(("LaMP_", "lm_eval"))):
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8") as source:
                rows: Rows = [{k: v or None for k, v in row.items()} for row in csv.DictReader(source)]
        elif file.suffix == ".json":
            rows = json.loads(file.read_text())
        else:
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if "svamp" in file.parts:  # a column of a table has one type
            rows = [row | {"Answer": str(row["Answer"])} for row in rows]
        WRITERS[writer](tmp_path / file.relative_to(DATA), rows)
    for split in ("train", "eval"):
        assert task(tmp_path).items(split) == task(DATA).items(split)


def test_line_separators_inside_texts_do_not_break_json_lines(tmp_path: Path) -> None:
    written(tmp_path, "*")
    odd = {"question": "One\u2028two\x85three?", "answer": "#### 3"}
    (tmp_path / "test.jsonl").write_text(json.dumps(odd, ensure_ascii=False), encoding="utf-8-sig")
    assert Gsm8k(tmp_path).items("eval")[0].prompt.startswith("One\u2028two\x85three?")


def test_two_kinds_of_files_for_one_split_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "*")
    written(tmp_path, "*", write_csv)
    with pytest.raises(DataError, match=r"'train' more than once: train.csv, train.jsonl. Keep one"):
        Gsm8k(tmp_path).items("eval")


def test_a_link_to_nothing_is_a_half_download(tmp_path: Path) -> None:
    written(tmp_path, "*")
    (tmp_path / "test.jsonl").unlink()
    (tmp_path / "test.jsonl").symlink_to(tmp_path / "blobs" / "absent")
    with pytest.raises(DataError, match=r"cannot read .*test.jsonl: No such file.*download incomplete"):
        Gsm8k(tmp_path).items("eval")


def test_a_folder_that_is_none_or_lacks_a_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data: .*absent is not a folder"):
        Gsm8k(tmp_path / "absent").items("eval")
    write_jsonl(tmp_path / "validation.x", ROWS["test"])
    with pytest.raises(DataError, match="no 'test' split of openai/gsm8k for task 'gsm8k'") as caught:
        Gsm8k(tmp_path).items("eval")
    assert "Found: validation.jsonl." in str(caught.value)
    assert f"hf download --repo-type dataset openai/gsm8k --revision {REVISION} --local-dir DIR" in str(caught.value)
    assert "--data gsm8k=DIR" in str(caught.value)
