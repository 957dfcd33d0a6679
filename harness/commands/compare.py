"""`mipo-bench compare`: paired tests on any two score files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from mipo_bench.reports.score_files.table import Entry


def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE.jsonl", help="Scores to compare against.")],
    methods: Annotated[list[Path], typer.Argument(metavar="METHOD.jsonl...", help="Scores to compare.")],
    *,
    weight: Annotated[
        Literal["micro", "macro"], typer.Option(help="What weighs equally: items (micro) or users (macro).")
    ] = "micro",
    missing: Annotated[
        Literal["error", "drop", "zero"], typer.Option(help="What becomes of items without a score.")
    ] = "error",
    margin: Annotated[
        float | None, typer.Option(help="Loss that counts as none: adds a test of non-inferiority.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Significance level; intervals have level 1 - alpha.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the random sign flips (more than 16 clusters).")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    metric: Annotated[str | None, typer.Option(help="Which metric, in lm-eval files with several.")] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="Which filter, in lm-eval files with several.")
    ] = None,
) -> None:
    """Compare score files item by item: difference, interval, p-value, and what the data could have shown.

    Rows are {"item_id", "score", "user_id"?, "train_seed"?, "sample"?}, or
    lines that lm-eval wrote with --log_samples. Delta is METHOD - BASE on the
    same items. Users are the unit where there are any, and training seeds are
    crossed with them. Several METHOD files are one family (Holm).
    """
    from mipo_bench.reports.score_files.compare import Settings, compare_files
    from mipo_bench.reports.score_files.read import Choice, read_scores
    from mipo_bench.reports.score_files.table import Entry, render
    from mipo_bench.reports.stats import holm

    settings = Settings(weight, missing, margin, alpha, seed)
    choice = Choice(metric, filter_name, allow_missing=missing != "error")
    left = read_scores(base, choice)
    found = [compare_files(left, read_scores(path, choice), settings) for path in methods]
    adjusted = holm([comparison.p_value for comparison in found])
    names = _short_names(methods)
    entries = [Entry(name, c, p) for name, c, p in zip(names, found, adjusted, strict=True)]
    if as_json:
        typer.echo(json.dumps(_as_json(base, methods, entries), indent=2, allow_nan=False))
    else:
        typer.echo(render(str(base), entries))


def _as_json(base: Path, methods: list[Path], entries: list[Entry]) -> dict[str, Any]:
    """One flat object for one METHOD file; for several, a list of them."""
    records = []
    for path, entry in zip(methods, entries, strict=True):
        record = {"base": str(base), "method": str(path), **asdict(entry.comparison), "p_holm": entry.p_holm}
        if entry.comparison.margin is None:
            for name in ("margin", "noninferior", "p_noninferiority"):
                del record[name]
        records.append(record)
    if len(records) == 1:
        return records[0]
    return {"base": str(base), "family_size": len(records), "comparisons": records}


def _short_names(paths: list[Path]) -> list[str]:
    """File names without the ending; whole paths where these are not distinct."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
