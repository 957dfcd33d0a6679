"""Parts of scores that apply to some items only, from the scorer to the table of the report."""

from __future__ import annotations

from made_reports import Made

from mipo_bench.harness.evaluation.scoring import ArmResponses, score_arm
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.types import Item, Response, Score, Split, Suite
from mipo_bench.reports.pages.page import Table
from mipo_bench.reports.pages.report import MOST_PARTS_ACROSS, report_page
from mipo_bench.reports.records.report import Report
from mipo_bench.tasks.reading.thoughts import Answer


class Partial:
    """A task whose part `even` applies to every second item."""

    name = "partial"
    suite: Suite = "math"
    version = 1
    description = "A task."
    binary = True
    reasoning = False
    reference = "plain"
    max_new_tokens = 8

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(Item(str(n), f"{split} {n}", "x") for n in range(4))

    def score(self, item: Item, response: Response) -> Score:
        return Score(1.0, {"all": 1.0} | ({"even": 1.0} if int(item.id) % 2 == 0 else {}))

    def gold(self, item: Item) -> str:
        return "x"

    def wrong(self, item: Item) -> str:
        return ""


def test_a_part_that_does_not_apply_is_none_and_a_failed_items_parts_are_zero() -> None:
    task, said = Partial(), Response("x", 1, 1, "stop")
    items = task.items("eval")
    responses, answers = {item.id: said for item in items}, {item.id: Answer("x") for item in items}
    arm = score_arm(
        task, items, ArmResponses(Arm("partial", "plain"), responses, answers, {"3": "generate: OSError"}, "d")
    )
    assert arm.parts == {"all": [1.0, 1.0, 1.0, 0.0], "even": [1.0, None, 1.0, 0.0]}


def _parts_table(report: Report, parts: dict[str, list[float | None]]) -> Table:
    arms = [arm.model_copy(update={"parts": parts}) if arm.task == "persona" else arm for arm in report.arms]
    tables = [
        table for section in report_page(report.model_copy(update={"arms": arms})).sections for table in section.tables
    ]
    return next(table for table in tables if table.title.startswith("parts"))


def test_the_mean_of_a_part_leaves_out_items_to_which_it_does_not_apply() -> None:
    report = Made(n_users=2).report()
    n = next(len(task.items) for task in report.tasks if task.name == "persona")
    table = _parts_table(report, {"some": [1.0, 0.5, *[None] * (n - 2)], "none": [None] * n})
    assert table.columns == ("arm", "some", "none")
    assert {row[1:] for row in table.rows} == {("0.75", "-")}


def test_many_parts_stand_in_rows() -> None:
    report = Made(n_users=2).report()
    n = next(len(task.items) for task in report.tasks if task.name == "persona")
    names = [f"part {k}" for k in range(MOST_PARTS_ACROSS + 1)]
    table = _parts_table(report, {name: [1.0] * n for name in names})
    assert table.columns[0] == "part"
    assert "profile" in table.columns
    assert [row[0] for row in table.rows] == names
