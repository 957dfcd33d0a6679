"""docs/configuration.md is generated from the docstrings of the settings, and must equal them.

After a change of a setting, run this file with `MIPO_BENCH_UPDATE_GOLDEN=1` to rewrite the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from golden_files import check_page
from paths import ROOT

from mipo_bench.harness.config.describe import Setting, about, sections, settings, yaml_text
from mipo_bench.harness.config.loading import EMBEDDED_DEFAULTS

PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

Settings come from the defaults, then a preset, then a YAML file (`--config FILE`), then `--set KEY=VALUE`, then the
named options; the later one wins. Keys of `--set` are dotted, and values are YAML:

```
mipo-bench run --config run.yaml --set train.lr=1e-5 --set 'grid.beta=[0.05, 0.1]'
```

```yaml
model: Qwen/Qwen2.5-1.5B-Instruct
tasks: [prism]
seeds: 5
train: {method: lora, lr: 1.0e-5}
judge: {name: openai:Qwen/Qwen2.5-14B-Instruct@http://localhost:8000/v1}
```

A single value is a list of one. `none` is an empty list of baselines, recipes or arms; `all` is every baseline or
recipe. `~` is the home folder in every path. JSON is read as well.

An unknown key, a value of the wrong type and a key under its old name are errors (exit code 2). All of them are
reported at once, each with the nearest key or the new name. A key may not occur twice in a file.
Secrets never belong here: keys and passwords come from the environment (`HF_TOKEN`, `OPENAI_API_KEY`,
`MIPO_BENCH_API_KEY`). `mipo-bench run --preset paper --dry-run` shows how a
preset differs from the defaults.

`mipo-bench new-config run.yaml` writes a file with every setting, its meaning and its default, all commented out: it
changes nothing until a `#` is removed. Its first line names the JSON Schema that is installed with the package, with
which editors (by the YAML language server) complete and check it; on another machine, write that line anew or remove
it. `mipo-bench config`, with the options of a run, prints every setting, its value, and where that comes from:

```
mipo-bench config --config run.yaml --preset paper
```

Two defaults depend on others. With `model: embedded` the settings of the last section apply. With a backend that only
answers, `recipes` is empty.

This page is generated from the settings' docstrings by `tests/config/test_configuration_page.py`.
"""


def meaning(setting: Setting) -> str:
    """The meaning for a cell of the table."""
    return re.sub(r"\bnull\b", "`null`", setting.meaning.replace("|", "\\|")).replace("``", "`")


def default(setting: Setting) -> str:
    """The default as people write it: 5e-07, 1."""
    return f"{setting.default:g}" if type(setting.default) is float else yaml_text(setting.default)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, section in sections():
        rows = "\n".join(
            f"| `{s.name}` | {s.kind} | `{default(s)}` | {meaning(s)} |".replace("|  |", "| |")
            for s in settings(name, section)
        )
        heading = f"## `{name}`" if name else "## Top level"
        parts.append(
            f"{heading}\n\n{about(section)}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    flat = "\n".join(f"| `{name}` | `{value:g}` |" for name, value in _flat(dict(EMBEDDED_DEFAULTS)))
    parts.append(f"## Defaults of the embedded model\n\n| setting | value |\n|---|---|\n{flat}\n")
    return "\n".join(parts)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_page_is_up_to_date() -> None:
    check_page(PAGE, page())


def test_every_setting_says_what_it_does() -> None:
    silent = [s.name for name, section in sections() for s in settings(name, section) if not s.meaning]
    assert silent == []
