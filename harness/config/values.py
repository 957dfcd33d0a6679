"""Types of settings, which read what people write: `~/data`, one name where a list is wanted, `none`, 3.0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mipo_bench.harness.core.files import expanded
from mipo_bench.harness.core.hashing import file_digest

LAUNCHES = ("fsdp2", "ddp")
"""Ways of sharing a training that need no file of the user."""
NONE = "none"
"""The name that stands for an empty list, on the command line and in a file."""


class ConfigSection(BaseModel):
    """A section of the configuration. Unknown keys are errors; values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def listed(value: Any) -> Any:
    """The value as a list: the parts of a text between commas, a single number or path; others unchanged."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float | Path) else value


def names(value: Any) -> Any:
    """The value as a list of names, which is empty for `none`."""
    found = listed(value)
    return [] if found == [NONE] else found


def _path(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("write the path of a file or folder")
    return expanded(value) if isinstance(value, str | Path) else value


def _model(name: str) -> str:
    return str(expanded(name)) if name.startswith("~") else name


def _arguments(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: _model(part) if isinstance(part, str) else part for key, part in value.items()}


def launch_file(launch: str) -> Path | None:
    """The file that a value of `train.launch` names; None for one of ours."""
    return None if launch in LAUNCHES else Path(launch)


def launch_name(launch: str) -> str:
    """A value of `train.launch` for content keys: the digest of a file. Raises OSError where it cannot be read."""
    file = launch_file(launch)
    return launch if file is None else file_digest(file)


def _launch(value: str) -> str:
    if value in LAUNCHES:
        return value
    if Path(value).suffix not in (".yaml", ".yml"):
        raise ValueError(f"write {', '.join(LAUNCHES)}, or the path of a FILE.yaml of accelerate")
    return str(expanded(value))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


UserPath = Annotated[Path, BeforeValidator(_path)]
"""A path; `~` is the home folder."""
ModelName = Annotated[str, AfterValidator(_model)]
"""The name of a model, or its folder as a UserPath."""
Launch = Annotated[str, AfterValidator(_launch)]
"""A name of LAUNCHES, or the path of an accelerate configuration."""
Arguments = Annotated[Mapping[str, Any], AfterValidator(_arguments)]
"""Arguments of another program; `~` at the beginning of a text is the home folder."""
Texts = str | list[str]
"""The form of a list of texts in a file, for the JSON Schema: one text is a list of one."""
Listed = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=Texts)]
"""Names; a text holds them between commas."""
Names = Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=Texts)]
"""Names; a text holds them between commas, and `none` is none."""
Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
"""A whole number, which some programs write as 3.0."""
Count = Annotated[Whole, Field(gt=0)]
_TEMPERATURE = "Sampling temperature; 0, where it is allowed, is greedy."
Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0, description=_TEMPERATURE)]
PositiveTemperature = Annotated[float, Field(gt=0, description=_TEMPERATURE)]
TopP = Annotated[
    float, Field(gt=0, le=1, description="Nucleus sampling: the share of probability from which tokens are drawn.")
]
