"""Base class and number types of the records that make up `report.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

UnitScore = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """A part of the report; unknown fields (of a newer minor version) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class CaveatRecord(Record):
    """A warning of the statistics; rendered as a numbered footnote."""

    code: str
    message: str
