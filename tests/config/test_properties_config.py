"""Properties of the configuration: which of file, --set and options takes precedence, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig, TrainConfig
from mipo_bench.harness.errors import ConfigError

POSITIVE = st.floats(1e-6, 1e3)
TOP: dict[str, st.SearchStrategy[Any]] = {
    "limit": st.integers(1, 10**6),
    "seeds": st.integers(1, 20),
    "alpha": st.floats(0.001, 0.999),
    "average": st.sampled_from(["micro", "macro"]),
    "noise_floor": st.booleans(),
    "suite": st.sampled_from(["personalized", "math", "all"]),
}
NESTED: dict[str, st.SearchStrategy[Any]] = {
    "train.lr": POSITIVE,
    "train.epochs": POSITIVE,
    "train.batch_size": st.integers(1, 64),
    "pairs.temperature": POSITIVE,
    "decoding.top_p": st.floats(0.01, 1),
    "judge.retest": st.integers(0, 99),
    "judge.shuffled": st.booleans(),
}
OPTIONS = st.fixed_dictionaries({}, optional=TOP)
LAYER = st.fixed_dictionaries({}, optional=TOP | NESTED)


def nested(values: Mapping[str, object]) -> dict[str, Any]:
    """Dotted keys as nested sections."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        section = found
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return found


def value_of(config: RunConfig, key: str) -> object:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "run.yaml"


@settings(max_examples=40)
@given(written=LAYER, given_by_set=LAYER, options=OPTIONS)
def test_options_win_over_set_and_set_over_the_file_key_by_key(
    file: Path, written: dict[str, Any], given_by_set: dict[str, Any], options: dict[str, Any]
) -> None:
    file.write_text(yaml.safe_dump(nested(written)))
    config = load_config(file, [f"{k}={str(v).lower()}" for k, v in given_by_set.items()], options)
    usual = load_config(None, [], {})
    expected = written | given_by_set | options
    for key in TOP | NESTED:
        assert value_of(config, key) == expected.get(key, value_of(usual, key)), key


@settings(max_examples=40)
@given(values=LAYER)
def test_a_configuration_that_is_written_out_is_the_same_again(file: Path, values: dict[str, Any]) -> None:
    config = load_config(None, [], nested(values))
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(file, [], {}) == config


UNKNOWN = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).filter(
    lambda key: key not in RunConfig.model_fields | TrainConfig.model_fields
)


@given(key=UNKNOWN, section=st.sampled_from(["", "train."]))
def test_an_unknown_key_is_named(key: str, section: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}'"):
        load_config(None, [f"{section}{key}=1"], {})


@given(st.text("abc.=[]{}:'\"&*!|> -\n0e+", max_size=20))
def test_any_setting_is_taken_or_refused_in_words(setting: str) -> None:
    try:
        load_config(None, [setting], {})
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - it need not be raised
