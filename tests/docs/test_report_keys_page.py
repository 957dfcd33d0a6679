"""docs/report-json-keys.md is generated from the schema of `report.json`, and must equal it.

After a change of a record, run `tests/reports/test_report_file.py` with `MIPO_BENCH_UPDATE_GOLDEN=1` to rewrite the
schema, then this file to rewrite the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from golden_files import cell, check_page
from paths import ROOT

PAGE = ROOT / "docs" / "report-json-keys.md"
SCHEMA = ROOT / "reports" / "records" / "report.schema.json"
HEAD = """# Every key of report.json

[report.json](report-json.md) explains the file. This page lists every key, in the order of the file; it is generated
from the JSON Schema that ships with the package (`report.schema.json`) by `tests/docs/test_report_keys_page.py`. Keys
without "required" may be missing in a report of an older schema, and then have their default.
"""
COMMON = {
    "task": "Name of the task.",
    "method": "Name of the arm in the report, the same for all training seeds.",
    "base": "Name of the arm that it is compared with.",
    "recipe": "The recipe it was trained with; null for a prompting arm.",
    "train_seed": "Training seed; null for a prompting arm.",
    "mean": "Mean over items and training seeds.",
    "delta": "Mean of method - base over items and training seeds.",
    "relative_delta": "`delta` over the mean of the base; null if that is 0.",
    "ci_low": "Lower end of the interval at level 1 - alpha; null where it is undefined.",
    "ci_high": "Upper end of the interval.",
    "p_value": "Two-sided p-value; null without a test.",
    "p_midp": "Mid-p beside an exact McNemar test.",
    "p_adjusted": "p-value adjusted for the family; null in the noise floor.",
    "test": "Name of the test: `share-weighted-t`, `mcnemar-exact`, `sign-flip-exact`, `sign-flip-monte-carlo`.",
    "interval": "Name of the interval's method.",
    "n_items": "Number of items.",
    "n_clusters": "Number of clusters: users, or items where there are no users.",
    "n_seeds": "Number of training seeds.",
    "se": "Standard error of `delta`.",
    "df": "Degrees of freedom of the critical value, with several training seeds.",
    "mde": "Smallest true difference that this comparison finds with 80% power.",
    "effect_size": "d_z: mean over standard deviation of the differences.",
    "p_better": "Share of items (or users) on which the method is better; ties count half.",
    "only_base": "Items that the base alone solves.",
    "only_method": "Items that the method alone solves.",
    "design_effect": "Variance over that of independent items.",
    "seed_sd": "Standard deviation over training seeds.",
    "per_seed": "Training seed and its own figure.",
    "mean_tokens": "Mean length of the responses in tokens.",
    "truncated": "Responses that were cut at the token limit.",
    "unparsed": "Responses without a readable answer.",
    "failed": "Items that failed.",
    "finish_unknown": "Responses without a known finish reason.",
    "warnings": "Warnings, printed as footnotes.",
    "stage": "The stage that failed: generation, scoring, training ...",
    "error": "Type of the error.",
    "message": "Its text.",
    "contexts": "Number of other contexts (or prompts) in the denominator.",
    "weights": "The model that gave the probabilities: that of the arm (`own`) or the base model (`base`).",
    "created": "Time of the run, ISO 8601 in UTC.",
    "config": "Every setting ([configuration](configuration.md)).",
    "average": "Units of equal weight: items (`micro`) or users (`macro`).",
    "alpha": "Significance level.",
    "dirty": "Whether the checkout had uncommitted changes.",
    "diff_hash": "Hash of these changes.",
    "digest": "SHA-256 of the content.",
    "noise": "Whether this is the A/A twin of the reference.",
}
"""Meanings of keys that say the same in every record, where the record itself says nothing."""


def refers(node: dict[str, Any]) -> str | None:
    """The record that a node of the schema refers to."""
    return str(node["$ref"]).rpartition("/")[2] if "$ref" in node else None


def kind(node: dict[str, Any]) -> str:
    """The type of a value in words."""
    if name := refers(node):
        return f"[{title(name)}](#{anchor(name)})"
    if "anyOf" in node:
        return " or ".join(kind(part) for part in node["anyOf"])
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    inner = node.get("items") or node.get("additionalProperties")
    if "prefixItems" in node:
        return f"[{', '.join(kind(part) for part in node['prefixItems'])}]"
    name = {"string": "text", "array": "list"}.get(node.get("type", "any"), node.get("type", "any"))
    return f"{name} of {kind(inner)}" if isinstance(inner, dict) else name


def title(name: str) -> str:
    """The name of a record in words: `CaveatRecord` is "caveat"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Record")).lower()


def anchor(name: str) -> str:
    """The anchor of a record's heading."""
    return title(name).replace(" ", "-")


def record(name: str, node: dict[str, Any]) -> Iterator[str]:
    """The section of one record: its meaning, and a table of its keys."""
    yield f"## {title(name).capitalize()}\n"
    yield re.sub(r"\bNone\b", "`null`", node.get("description", "")) + "\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for key, value in node["properties"].items():
        default = "required" if key in node.get("required", ()) else f"`{json.dumps(value.get('default', []))}`"
        meaning = re.sub(r"\bNone\b", "`null`", cell(value.get("description", COMMON.get(key, ""))))
        yield f"| `{key}` | {cell(kind(value))} | {default} | {meaning} |".replace("|  |", "| |")
    yield ""


def page() -> str:
    """The whole page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    records = {"Report": schema, **schema["$defs"]}
    return HEAD + "\n" + "\n".join(line for name in order(schema) for line in record(name, records[name]))


def order(schema: dict[str, Any]) -> list[str]:
    """The records in the order in which they are first referred to, from the top."""
    found = ["Report"]
    for name in found:
        node = schema if name == "Report" else schema["$defs"][name]
        inner = re.findall(r'"#/\$defs/(\w+)"', json.dumps(node["properties"]))
        found += dict.fromkeys(part for part in inner if part not in found)
    return found


def test_the_page_is_up_to_date() -> None:
    check_page(PAGE, page())


def test_every_record_is_on_the_page_and_says_what_it_is() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert set(order(schema)) == {"Report", *schema["$defs"]}
    assert [name for name, node in schema["$defs"].items() if not node.get("description")] == []
