"""`compare` with several arms and files: which is the base, pairs, a value in its place, and what `--list` prints."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from golden_files import check_golden, run
from paths import GOLDEN, ROOT

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.record import Choice
from mipo_bench.reports.score_files.compare import Compared, Pairing, Settings, compare_scores
from mipo_bench.reports.stats import holm

LOGS = ROOT / "tests/logs/data"
EXACT = Settings("micro", "error", None, 0.05, 0)
ARM = Choice(columns={"arm": "arm"})


def table(path: Path, **arms: list[float]) -> Path:
    rows = [f"q{i},{value},{arm}" for arm, values in arms.items() for i, value in enumerate(values)]
    path.write_text("\n".join(["item_id,score,arm", *rows]))
    return path


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return table(tmp_path / "t.csv", a=[0, 0, 0, 1] * 3, b=[1, 0, 1, 1] * 3, c=[1, 1, 1, 1] * 3)


def pairs(found: list[Compared]) -> list[tuple[str, str]]:
    return [(entry.base.rpartition(" ")[2], entry.name) for entry in found]


def test_the_first_arm_is_the_base(three: Path) -> None:
    assert pairs(compare_scores([three], ARM, EXACT)) == [("a", "b"), ("a", "c")]
    assert pairs(compare_scores([three], ARM, EXACT, Pairing("b"))) == [("b", "a"), ("b", "c")]
    assert pairs(compare_scores([three], ARM, EXACT, Pairing("c", ("a",)))) == [("c", "a")]


def test_all_pairs_are_one_family(three: Path) -> None:
    found = compare_scores([three], ARM, EXACT, Pairing(pairs="all"))
    assert pairs(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [entry.p_holm for entry in found] == holm([entry.comparison.p_value for entry in found])
    assert [entry.comparison.delta for entry in found] == pytest.approx([0.5, 0.75, 0.25])


def test_a_value_in_place_of_the_base(three: Path) -> None:
    found = compare_scores([three], ARM, EXACT, Pairing(methods=("a", "c"), against=0.5))
    assert [(entry.base, entry.name) for entry in found] == [("the value 0.5", "a"), ("the value 0.5", "c")]
    assert [entry.comparison.delta for entry in found] == pytest.approx([-0.25, 0.5])


def test_a_value_against_samples_users_and_seeds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"q{i},{int(i > s)},u{i % 3},{s},{k}" for i in range(6) for s in (0, 1) for k in (0, 1)]
    path.write_text("\n".join(["item_id,score,user_id,train_seed,sample", *rows]))
    (found,) = compare_scores([path], Choice(), EXACT, Pairing(against=0.5))
    assert (found.comparison.n_clusters, found.comparison.n_seeds) == (3, 2)
    assert found.comparison.delta == pytest.approx(0.25)


def test_several_files_and_arms(three: Path, tmp_path: Path) -> None:
    other = table(tmp_path / "other.csv", a=[1] * 12)
    with pytest.raises(UserError, match=r"t.csv: several arms \(a, b, c\); choose the base with --base"):
        compare_scores([three, other], ARM, EXACT)
    found = compare_scores([three, other], ARM, EXACT, Pairing("t: b", ("other",)))
    assert pairs(found) == [("b", "other")]
    with pytest.raises(UserError, match=r"--base: 'a' names 2 arms; they are t: a, t: b, t: c, other"):
        compare_scores([three, other], ARM, EXACT, Pairing("a"))
    with pytest.raises(UserError, match=r"--method: unknown arm 'd'"):
        compare_scores([three], ARM, EXACT, Pairing(methods=("d",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"against": 0.5, "base": "a"}, "--against takes the place of a base"),
        ({"against": 0.5, "pairs": "all"}, "--against takes the place of a base"),
        ({"against": math.nan}, "--against is nan; a finite number is needed"),
        ({"base": "a", "pairs": "all"}, "leave out --base"),
    ],
)
def test_options_that_exclude_one_another(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pairing(**options)  # type: ignore[arg-type]


COMMANDS = {
    "list": "compare --list base.eval org__small results.json table.csv small other.csv",
    "list-one-metric": "compare --list base.eval --metric match --format markdown",
    "inspect": "compare base.eval method.eval --metric graded.style --user metadata.user",
    "promptfoo": "compare results.json --pairs all --missing drop",
    "csv-arms": "compare table.csv --arm arm --base b --format csv",
    "json-pairs": "compare table.csv --arm arm --pairs all --json",
    "map": "compare other.csv --item id --score grade --map C=1,P=.5,I=0 --against 0.5",
    "columns-of-a-log": "compare base.eval method.eval --item id",
    "no-column": "compare other.csv table.csv",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_golden(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (*(LOGS / "inspect_ai").iterdir(), LOGS / "promptfoo/results.json"):
        shutil.copy(file, tmp_path)
    shutil.copytree(LOGS / "lm_eval/org__small", tmp_path / "org__small")
    shutil.copytree(LOGS / "helm/small", tmp_path / "small")
    table(tmp_path / "table.csv", a=[0, 0, 0, 1] * 3, b=[1, 0, 1, 1] * 3, c=[1, 1, 1, 1] * 3)
    (tmp_path / "other.csv").write_text("id,grade\n1,C\n2,P\n3,I\n4,C\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    printed = run(COMMANDS[name], capsys)
    assert printed.code == (2 if printed.err else 0)
    check_golden(f"logs/{name}.txt", printed.text(COMMANDS[name]))


def test_golden_files_all_belong_to_a_test() -> None:
    assert {path.stem for path in (GOLDEN / "logs").iterdir()} == set(COMMANDS)


def test_json_of_pairs_has_no_single_base(
    three: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(three.parent)
    record = json.loads(run("compare t.csv --arm arm --pairs all --json", capsys).out)
    assert (record["base"], record["family_size"]) == (None, 3)
    assert [(c["base"], c["method"]) for c in record["comparisons"]][2] == ("t.csv: b", "t.csv: c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--list --format json", "--list has no --format json"),
        ("--list --json", "--list has no --format json"),
        ("--map C=1,P", "--map has 'P'; write TEXT=NUMBER"),
        ("--map C=1,C=0", "--map has 'C=0'; write TEXT=NUMBER,TEXT=NUMBER, each text once"),
        ("--map =1", "--map has '=1'"),
    ],
)
def test_wrong_options(options: str, message: str, three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(f"compare {three} {options}", capsys)
    assert printed.code == 2
    assert message in printed.err
