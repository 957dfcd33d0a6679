"""A file or folder with plugins, as a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from mipo_bench.harness.config.values import ConfigSection
from mipo_bench.harness.core.files import expanded
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins.included_files import content_digest


class Include(ConfigSection):
    """A file or folder with plugins. A report identifies it by its name and content, not by its folder."""

    path: Path = Field(exclude=True)
    name: str
    digest: str

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str | Path) or not str(value).strip():
            raise ValueError("write the path of a file or folder")
        path = expanded(value)
        try:
            return {"path": path, "name": path.resolve().name, "digest": content_digest(path)}
        except PluginError as error:
            raise ValueError(str(error)) from error


def one_listed(value: Any) -> Any:
    """The value as a list if it is a single path."""
    return [value] if isinstance(value, str | Path) else value
