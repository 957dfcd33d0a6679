"""Lays out a report as a page of plain tables with its conclusions. All renderers of `mipo-bench show` draw it.

Warnings become numbered footnotes. A difference that is not significant after adjustment is marked `~`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from mipo_bench.reports.numbers import interval, p_marked, p_text, percent, plural, signed, unsigned
from mipo_bench.reports.pages.guards import guard_tables
from mipo_bench.reports.pages.information import information_conclusions, information_tables
from mipo_bench.reports.pages.judges import head_warnings, judge_tables
from mipo_bench.reports.pages.looks import look_lines
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table
from mipo_bench.reports.pages.trainings import trainings
from mipo_bench.reports.pages.ways import ways_table
from mipo_bench.reports.records.report import (
    ArmRecord,
    ComparisonRecord,
    EstimateRecord,
    ModelRecord,
    Report,
    TaskRecord,
)

_LEFT_OUT = "left out: "
MOST_PARTS_ACROSS = 10
"""A table with more parts than this has a row for each part, so that it fits the page."""
_NAME = 20
"""Characters of a name in a table of figures."""


def report_page(report: Report) -> Page:
    """Lay out a report."""
    notes = Footnotes()
    sections = tuple(Section(_task_title(task), tuple(_task_tables(report, task, notes))) for task in report.tasks)
    answers = (*conclusions(report), *information_conclusions(report))
    return Page("mipo-bench report", _head(report), sections, tuple(notes.texts), answers)


def _head(report: Report) -> tuple[str, ...]:
    p, m = report.provenance, report.model
    commit = f"commit {p.commit[:10]}{'*' if p.dirty else ''}" if p.commit else "no commit"
    seeds = {arm.train_seed for arm in report.arms if arm.train_seed is not None}
    primary = [f"{c.task}: {c.method} against {c.base}" for c in report.comparisons if c.family == "primary"]
    preset = report.config.get("preset")
    head = [
        f"model {m.name} ({m.digest[:10]}, {_backend(m)}), {commit}"
        + (f", {plural(len(seeds), 'training seed')}" if seeds else "")
        + (f", preset {preset}" if preset else ""),
        f"scores in [0, 1], {report.average} average, intervals at {1 - report.alpha:.0%}",
        f"primary family ({len(primary)}, declared before the run): " + ("; ".join(primary) or "none"),
    ]
    head += [data_line(task.name, task.data) for task in report.tasks if task.data]
    head += [f"! {h.task} {h.method}{_seed(h.train_seed)} failed at {h.stage}: {h.message}" for h in report.failures]
    return (*head, *(f"! {note}" for note in (*head_warnings(report), *look_lines(report.looks), *report.notes)))


def data_line(task: str, data: Mapping[str, str | int]) -> str:
    """The data set of a task: its name, revision, shortened digest, licence and counts."""
    source = [str(data[key]) for key in ("dataset", "revision") if key in data]
    source += [f"digest {str(data['digest'])[:10]}"] if "digest" in data else []
    source += [f"licence {data['licence']}"] if "licence" in data else []
    counts = {key: n for key, n in data.items() if isinstance(n, int)}
    excluded = [f"{n} {key.removeprefix(_LEFT_OUT)}" for key, n in counts.items() if key.startswith(_LEFT_OUT)]
    notes = [f"{_LEFT_OUT}{', '.join(excluded)}"] if excluded else []
    notes += [f"{n} {key}" for key, n in counts.items() if not key.startswith(_LEFT_OUT)]
    return f"data of {task}: {', '.join(source)}" + (f" ({'; '.join(notes)})" if notes else "")


def _backend(model: ModelRecord) -> str:
    """The backend that generated the responses; the number format and device if they are known."""
    place = f"{model.dtype} on {model.device}" if model.device not in ("none", "remote") else ""
    backend = f"backend {model.backend}" if model.backend not in ("transformers", "responses") else ""
    from_file = "responses from a file" if model.backend == "responses" else ""
    return ", ".join(part for part in (from_file, backend, place) if part)


def _seed(seed: int | None) -> str:
    return "" if seed is None else f" seed {seed}"


def _task_title(task: TaskRecord) -> str:
    unit = "part" if task.group_average else "user"
    users = f", {plural(len(set(task.users)), unit)}" if task.users else ""
    return f"{task.name} ({task.suite}): {plural(len(task.items), 'item')}{users}, reference {task.reference}"


def _task_tables(report: Report, task: TaskRecord, notes: Footnotes) -> Iterable[Table]:
    estimates = [e for e in report.estimates if e.task == task.name]
    yield _scores(estimates, notes)
    parts = _parts(report, task, [e.method for e in estimates])
    if parts:
        yield parts
    yield from judge_tables(report, task.name, notes)
    groups = {
        "primary": "primary family, adj. p by Holm over all tasks",
        "exploratory": "exploratory, adj. p by Benjamini-Hochberg over all tasks",
        "noise": "noise floor: the same arm under another sampling seed",
    }
    for family, title in groups.items():
        found = [c for c in report.comparisons if c.task == task.name and c.family == family]
        if found:
            yield _comparisons(title, found, report.alpha, notes)
        if found and family == "primary":
            yield _effects(found)
            yield from _sensitivity(found, "user" if task.users else "item")
    trained = trainings([c for c in report.checkpoints if c.task == task.name], notes)
    if trained:
        yield trained
    yield from information_tables(report, task.name, notes)
    ways = ways_table(report, task.name, notes)
    if ways:
        yield ways
    yield from guard_tables(report, task.name, notes)


def _scores(estimates: Sequence[EstimateRecord], notes: Footnotes) -> Table:
    columns = ("arm", "score", "interval", "seed sd", "tokens", "cut", "none", "failed")
    rows = tuple(
        (
            f"{e.method}{notes.marks(e.warnings)}",
            unsigned(e.mean),
            interval(e.ci_low, e.ci_high, unsigned),
            f"{unsigned(e.seed_sd)} ({e.n_seeds})" if e.n_seeds else "",
            f"{e.mean_tokens:.0f}",
            "-" if e.finish_unknown and not e.truncated else str(e.truncated),
            str(e.unparsed),
            str(e.failed),
        )
        for e in estimates
    )
    return Table("scores (cut: at the token limit; none: no answer found; sd over trainings)", columns, rows)


def _parts(report: Report, task: TaskRecord, methods: Sequence[str]) -> Table | None:
    """The mean of each part of the score, over items and seeds; many parts stand in rows, few in columns."""
    arms = [a for a in report.arms if a.task == task.name]
    names = list(dict.fromkeys(name for a in arms for name in a.parts))
    if not names:
        return None
    means = {
        (method, name): _part_mean([a for a in arms if a.method == method], name)
        for method, name in product(methods, names)
    }
    title = "parts of the score and further figures"
    if len(names) <= MOST_PARTS_ACROSS:
        return Table(title, ("arm", *names), tuple((m, *(means[m, name] for name in names)) for m in methods))
    return Table(title, ("part", *methods), tuple((name, *(means[m, name] for m in methods)) for name in names))


def _part_mean(arms: Sequence[ArmRecord], name: str) -> str:
    """The mean of a part over the items that it applies to, and over seeds."""
    values = [value for arm in arms for value in arm.parts.get(name, []) if value is not None]
    return f"{sum(values) / len(values):.2f}" if values else "-"


def _comparisons(title: str, found: Sequence[ComparisonRecord], alpha: float, notes: Footnotes) -> Table:
    """The differences, grouped by base."""
    columns = ("method", "delta", "interval", "rel.", "p", "adj. p", "MDE", "n")
    rows: list[tuple[str, ...]] = []
    for base in dict.fromkeys(c.base for c in found):
        rows.append((f"vs {base}", *[""] * (len(columns) - 1)))
        rows += [_row(c, alpha, notes) for c in found if c.base == base]
    return Table(title, columns, tuple(rows))


def _row(c: ComparisonRecord, alpha: float, notes: Footnotes) -> tuple[str, ...]:
    return (
        f" {c.method}{notes.marks(c.warnings)}",
        signed(c.delta),
        interval(c.ci_low, c.ci_high, signed),
        percent(c.relative_delta),
        p_text(c.p_value),
        _decision(c, alpha),
        unsigned(c.mde),
        f"{c.n_items}x{c.n_seeds}" if c.n_seeds else str(c.n_items),
    )


def _effects(found: Sequence[ComparisonRecord]) -> Table:
    """Effect sizes, discordant items and design effects of the primary comparisons; the CSV has those of all."""
    title = (
        f"size of the primary effects over {found[0].base} (better: P(better) + P(tie)/2; d_z: mean over sd of"
        " differences; only: items that one side alone solves; design: variance over that of independent items)"
    )
    columns = ("method", "better", "d_z", "only base", "only method", "clusters", "design")
    rows = tuple(
        (
            c.method,
            unsigned(c.p_better),
            signed(c.effect_size),
            "-" if c.only_base is None else str(c.only_base),
            "-" if c.only_method is None else str(c.only_method),
            str(c.n_clusters),
            "-" if c.design_effect is None else f"{c.design_effect:.2f}",
        )
        for c in found
    )
    return Table(title, columns, rows)


def _sensitivity(found: Sequence[ComparisonRecord], unit: str) -> Iterable[Table]:
    """Delta and p without the user (or item) that moves them most, and the share of the most changed items."""
    tested = [(c, c.sensitivity) for c in found if c.sensitivity]
    if not tested:
        return
    title = (
        f"sensitivity of the primary effects over {found[0].base} (without one: delta or p without the {unit} "
        "that moves it most; five items: the share of delta that the five most changed items carry)"
    )
    columns = ("method", "delta", "without one", "p", "without one", "five items")
    rows = tuple(
        (
            c.method,
            signed(c.delta),
            f"{signed(s.delta_without)} {_shortened(s.delta_cluster)}".rstrip(),
            p_text(c.p_value),
            f"{p_text(s.p_without)} {_shortened(s.p_cluster)}".rstrip(),
            "-" if s.top_share is None else percent(s.top_share).removeprefix("+"),
        )
        for c, s in tested
    )
    yield Table(title, columns, rows)


def _shortened(name: str | None) -> str:
    """The name of a user or item; a long one without its middle, which `report.json` has."""
    return name if name is not None and len(name) <= _NAME else f"{name[:8]}...{name[-8:]}" if name else ""


def _decision(c: ComparisonRecord, alpha: float) -> str:
    """The adjusted p-value, with `~` if it is not below alpha; only the mark for the noise floor."""
    p = c.p_value if c.family == "noise" else c.p_adjusted
    if c.family == "noise":
        return "~" if p is None or p >= alpha else ""
    return p_marked(p, alpha)


def conclusions(report: Report) -> Iterable[str]:
    """One sentence for each primary comparison: better, worse or unclear; with the gap to the best baselines."""
    for c in (c for c in report.comparisons if c.family == "primary"):
        if c.delta is None:
            yield f"{c.task}: {c.method} could not be compared with {c.base}."
            continue
        if c.p_adjusted is None:
            yield f"{c.task}: {c.method} against {c.base} cannot be tested on these data ({signed(c.delta)})."
            continue
        significant = c.p_adjusted < report.alpha
        verdict = ("better than" if c.delta > 0 else "worse than") if significant else "not distinguishable from"
        text = f"{c.task}: {c.method} is {verdict} {c.base} ({signed(c.delta)}, adjusted p {p_text(c.p_adjusted)})"
        yield text + _against_best(report, c)


def _against_best(report: Report, primary: ComparisonRecord) -> str:
    """The exploratory comparisons with the best prompting arm and with the best trained baseline."""
    primary_methods = {c.method for c in report.comparisons if c.family == "primary"}
    twins = {c.method for c in report.comparisons if c.family == "noise"}
    trained = {a.method for a in report.arms if a.recipe is not None}
    others = [e for e in report.estimates if e.task == primary.task and e.method not in primary_methods | twins]
    prompted = max((e for e in others if e.method not in trained), key=lambda e: e.mean, default=None)
    rival = max((e for e in others if e.method in trained), key=lambda e: e.mean, default=None)
    over = _gap(report, primary, "the best trained baseline", rival.method) if rival else ""
    if prompted is None or prompted.method == primary.base:
        return f", the best prompting arm here{over}."
    return f"{_gap(report, primary, 'the best prompting', prompted.method)}{over}."


def _gap(report: Report, primary: ComparisonRecord, label: str, base: str) -> str:
    """The method's difference from `base`, which is introduced as `label`; empty if the two were not compared."""
    for c in report.comparisons:
        if (c.task, c.base, c.method) == (primary.task, base, primary.method) and c.delta is not None:
            unclear = "" if c.p_adjusted is not None and c.p_adjusted < report.alpha else "~ "
            return f"; {signed(c.delta)} to {label}, {base} (exploratory, p {unclear}{p_text(c.p_adjusted)})"
    return ""
