"""The JSON Schema of `report.json`, which ships with the package as `report.schema.json`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from mipo_bench.reports.records.report import Report

SCHEMA_FILE = "report.schema.json"


def make_schema() -> str:
    """The text of the schema, from the records. It allows unknown fields: newer minor versions add some."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
    return json.dumps(schema, indent=1) + "\n"


def shipped_schema() -> dict[str, Any]:
    """The schema as it ships."""
    loaded: dict[str, Any] = json.loads(
        files("mipo_bench.reports.records").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    )
    return loaded
