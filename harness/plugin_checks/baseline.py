"""All checks of `mipo-bench check-baseline`: chats, context, steps, repeated prompts, cost. No model, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mipo_bench.harness.config.schema import BestOfNConfig
from mipo_bench.harness.generators.remote import CHARACTERS_PER_TOKEN
from mipo_bench.harness.planning.plan import can_ask
from mipo_bench.harness.plugin_checks.applied import TaskItems, applied
from mipo_bench.harness.plugin_checks.chats import chat_problem, context_problem, shows
from mipo_bench.harness.plugin_checks.items import (
    RAISED,
    CheckResult,
    ElsewhereOn,
    Fingerprints,
    call_plugin,
    same_elsewhere,
    short_digest,
)
from mipo_bench.harness.plugin_checks.scripted_model import RESPONSE_CHARACTERS, ScriptedModel
from mipo_bench.harness.plugin_checks.task import HOSTILE
from mipo_bench.harness.plugins.optional import context_steps
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.startup.cost import responses_per_item
from mipo_bench.harness.types import Baseline, ContrastedBaseline, Item, Message, SteppedBaseline, Task

SPARSE = 5
"""One item of so many of a sample gets every kind of earlier response."""
Chats = tuple[tuple[Message, ...], ...]
"""The chats of one item in turn: one, one for each step, or the prompt and its contrast prompt."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """An item of a task with the chats that the baseline makes for it."""

    task: Task
    item: Item
    chats: Chats

    @property
    def label(self) -> str:
        """The item and its task, for messages."""
        return f"item {self.item.id!r} of {self.task.name}"


def check_baseline(
    baseline: Baseline, tasks: Sequence[Task], plugins: Plugins, elsewhere: ElsewhereOn
) -> Iterator[CheckResult]:
    """Run every check in turn, on the tasks to which the baseline applies; only the first ones if its chats fail."""
    found, check = applied(baseline, tasks)
    yield check
    if not found:
        return
    problems: list[str] = []
    prompted = _prompted(baseline, found, ScriptedModel(), problems)
    count = sum(len(one.chats) for one in prompted)
    yield CheckResult("prompts", f"{count} chats for {len(prompted)} items; roles alternate", tuple(problems))
    if problems:
        return
    yield _context(baseline, prompted)
    if isinstance(baseline, SteppedBaseline):
        yield _steps(baseline, found)
    elif isinstance(baseline, ContrastedBaseline):
        yield _contrast(prompted)
    else:
        yield _without_context(baseline, prompted)
    made = _by_task(prompted)
    yield same_elsewhere(lambda: made, partial(elsewhere, [ti.name for ti in found]), "prompts", "its prompts change")
    yield _cost(baseline, found, prompted, plugins.baselines)


def fingerprints(baseline: Baseline, tasks: Sequence[Task]) -> dict[str, Fingerprints]:
    """Task -> fingerprint of the chats of each item. The last item is asked first: an earlier one must not matter."""
    found, _ = applied(baseline, tasks)
    return _by_task(_prompted(baseline, found, ScriptedModel(), [], backwards=True))


def _by_task(prompted: Sequence[Prompted]) -> dict[str, Fingerprints]:
    made: dict[str, Fingerprints] = {}
    for one in prompted:
        made.setdefault(one.task.name, []).append((one.item.id, short_digest(one.chats)))
    return made


def _prompted(
    baseline: Baseline,
    found: Sequence[TaskItems],
    model: ScriptedModel,
    problems: list[str],
    *,
    backwards: bool = False,
) -> list[Prompted]:
    """Every item with all of its chats; an item whose chats fail is left out, and added to `problems`."""
    asked = [(ti.task, item) for ti in found for item in ti.items.all if can_ask(baseline, ti.task, item)]
    order = reversed(asked) if backwards else iter(asked)
    made = [
        Prompted(task, item, chats) for task, item in order if (chats := _chats(baseline, task, item, model, problems))
    ]
    return made[::-1] if backwards else made


def _chats(baseline: Baseline, task: Task, item: Item, model: ScriptedModel, problems: list[str]) -> Chats | None:
    """The chats of one item; the model answers each before the next is made. None if one fails."""
    earlier: list[str] = []
    chats: list[tuple[Message, ...]] = []
    for method, call in _calls(baseline, item, earlier):
        action = f"item {item.id!r} of {task.name}: {method}"
        messages = call_plugin(action, call, problems)
        if messages is RAISED:
            return None
        if problem := chat_problem(messages, item):
            problems.append(f"{action} {problem}")
            return None
        chats.append(tuple(messages))
        earlier.append(model.reply(messages))
    return tuple(chats)


def _calls(baseline: Baseline, item: Item, earlier: list[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """The methods that a run calls, in turn. `earlier` has the responses so far when the next call is made."""
    if isinstance(baseline, SteppedBaseline):
        bare = replace(item, options=(), prefix="")  # as a run gives it: only the last step shows the options
        yield "messages()", partial(baseline.messages, bare)
        for step in range(2, baseline.steps + 1):
            now = item if step == baseline.steps else bare
            yield f"follow_up() of step {step}", partial(baseline.follow_up, now, list(earlier))
        return
    yield "messages()", partial(baseline.messages, item)
    if isinstance(baseline, ContrastedBaseline):
        yield "contrast()", partial(baseline.contrast, item)


def _promised(baseline: Baseline) -> int:
    """The number of chats, from the first, that must contain the context."""
    if not baseline.uses_context:
        return 0
    return context_steps(baseline) if isinstance(baseline, SteppedBaseline) else 1


def _context(baseline: Baseline, prompted: Sequence[Prompted]) -> CheckResult:
    """Check that the chats that promise the context show it, and that the promise is made where it is kept."""
    problems: list[str] = []
    promised, own = _promised(baseline), [one for one in prompted if one.item.context]
    for one in own:
        for n, chat in enumerate(one.chats[:promised]):
            if problem := context_problem(chat, one.item.context):
                problems.append(f"{one.label}: chat {n + 1} {problem}: show it word for word, or {_less(baseline, n)}")
    single = not isinstance(baseline, SteppedBaseline | ContrastedBaseline)
    if single and own and not promised and all(shows(one.chats[0], str(one.item.context)) for one in own):
        problems.append(
            f"{own[0].label}: the chat shows the context, as every other one does, but uses_context is False: say"
            " uses_context = True, so that every run checks it"
        )
    if not own or not promised:
        return CheckResult(
            "context", "not promised (uses_context = False)" if own else "no item has one", tuple(problems)
        )
    every = len(own[0].chats) == promised or not isinstance(baseline, SteppedBaseline)
    part = "" if every else f" in the first {promised} of {len(own[0].chats)} chats"
    return CheckResult("context", f"word for word{part}, for {len(own)} items", tuple(problems))


def _less(baseline: Baseline, shown_before: int) -> str:
    stepped = isinstance(baseline, SteppedBaseline) and shown_before
    return f"say context_steps = {shown_before}" if stepped else "say uses_context = False"


def _without_context(baseline: Baseline, prompted: Sequence[Prompted]) -> CheckResult:
    """Check the chats without a context, which `mipo-missing` and mutual information ask the reference for."""
    problems: list[str] = []
    own = [one for one in prompted if one.item.context]
    for one in own:
        bare, context = replace(one.item, context=None, demonstrations=()), str(one.item.context)
        action = f"{one.label}, with its context withheld (None): messages()"
        messages = call_plugin(action, partial(baseline.messages, bare), problems)
        if messages is RAISED:
            continue
        if problem := chat_problem(messages, bare):
            problems.append(f"{action} {problem}")
        elif shows(one.chats[0], context) and _says_none(messages, one.chats[0], context):
            problems.append(f"{action} writes None in the place of the context: leave out the text around it")
        elif shows(messages, context) and context not in bare.prompt:
            problems.append(f"{action} shows the context all the same: take it from item.context alone")
    done = f"{len(own)} chats without the context" if own else "no item has a context"
    return CheckResult("withheld", done, tuple(problems))


def _says_none(messages: Sequence[Message], shown: Sequence[Message], context: str) -> bool:
    """Whether the chat without the context is the one that shows it, with None in the place of the context."""
    return [m.content for m in messages] == [m.content.replace(context, "None") for m in shown]


def _contrast(prompted: Sequence[Prompted]) -> CheckResult:
    """Check that the contrast prompt is another one than the prompt."""
    problems = [
        f"{one.label}: contrast() gives the chat of messages(): nothing is contrasted. Leave something out of it"
        for one in prompted
        if one.chats[0] == one.chats[1]
    ]
    return CheckResult("contrast", f"{len(prompted)} contrast prompts differ from their prompts", tuple(problems))


def _steps(baseline: SteppedBaseline, found: Sequence[TaskItems]) -> CheckResult:
    """Check that follow_up() stands any response, and that the last prompt depends on the responses before it."""
    problems: list[str] = []
    last: dict[str, set[Chats]] = {}
    sample = [(ti.task, item) for ti in found for item in ti.items.sample[::SPARSE] if can_ask(baseline, ti.task, item)]
    for task, item in sample:
        for text in (None, *HOSTILE):
            broken: list[str] = []
            chats = _chats(baseline, task, item, ScriptedModel(text), broken)
            problems += [f"{problem}, where each earlier response is {_quoted(text)}" for problem in broken]
            last.setdefault(f"item {item.id!r} of {task.name}", set()).update({chats[-1:]} if chats else ())
    if not problems and all(len(different) < 2 for different in last.values()):
        problems.append(
            f"{next(iter(last))}: the last prompt is the same for every earlier response, as that of every other item:"
            " show `earlier`, or leave out the steps"
        )
    done = f"{baseline.steps} steps, on {len(sample)} items x {len(HOSTILE) + 1} kinds of earlier responses"
    return CheckResult("steps", done, tuple(problems))


def _quoted(text: str | None) -> str:
    return "a scripted one" if text is None else f"{text[:40]!r}{'...' if len(text) > 40 else ''}"


def _cost(
    baseline: Baseline, found: Sequence[TaskItems], prompted: Sequence[Prompted], baselines: Mapping[str, Baseline]
) -> CheckResult:
    """Responses and prompt characters of one item, by task, and against the task's reference."""
    times, problems = responses_per_item(baseline, BestOfNConfig()), list[str]()
    lines = [f"{times} response{'' if times == 1 else 's'} for each item"]
    if isinstance(baseline, SteppedBaseline):
        lines[0] += f"; an earlier response counts as {RESPONSE_CHARACTERS} characters"
    for ti in found:
        rows = [one for one in prompted if one.task is ti.task]
        own = sum(_characters(one.chats) for one in rows)
        usual = sum(_reference_characters(one, baselines, problems) for one in rows)
        if own and usual:
            each = own / len(rows)
            lines.append(
                f"{ti.name}: {each:,.0f} prompt characters, about {each / CHARACTERS_PER_TOKEN:,.0f} tokens:"
                f" {own / usual:.2f} times those of {ti.task.reference}"
            )
    return CheckResult("cost", "\n".join(lines), tuple(problems))


def _reference_characters(one: Prompted, baselines: Mapping[str, Baseline], problems: list[str]) -> int:
    """The characters of the reference's prompt; 0 if it fails, which is added to `problems`."""
    reference = baselines.get(one.task.reference)
    if reference is None:
        problems.append(f"{one.label}: the reference {one.task.reference!r} of the task is no baseline")
        return 0
    messages = call_plugin(
        f"{one.label}: its reference {reference.name!r}", partial(reference.messages, one.item), problems
    )
    return 0 if messages is RAISED else _characters((messages,))


def _characters(chats: Chats) -> int:
    return sum(len(message.content) for chat in chats for message in chat)
