"""The prompts of baselines, and their rendering by chat templates."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import jinja2
import pytest

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.generators.chat_template import own_system_text, render
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Item, Message

PLUGINS = load_plugins()
BASELINES, RECIPES, TASKS = PLUGINS.baselines, PLUGINS.recipes, PLUGINS.tasks
PERSONA = TASKS["persona"].items("train")
PLAIN = TASKS["arithmetic"].items("train")


class TemplateTokenizer:
    """A tokenizer that has only a chat template."""

    def __init__(self, template: str) -> None:
        self.template = template

    def apply_chat_template(self, chat: Sequence[dict[str, str]], **options: Any) -> str:
        def refuse(message: str) -> None:
            raise jinja2.TemplateError(message)

        source = jinja2.Environment().from_string(self.template)
        return source.render(messages=chat, raise_exception=refuse, **options)


CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
DROPS = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
DROPS_ALL = "<assistant>"


@pytest.mark.parametrize("name", [n for n, b in BASELINES.items() if b.uses_context])
@pytest.mark.parametrize("template", [CHATML, REFUSES, DROPS])
def test_the_rendered_prompt_contains_the_context(name: str, template: str) -> None:
    for item in PERSONA[:5]:
        messages = BASELINES[name].messages(item)
        prompt = render(TemplateTokenizer(template), messages, item.context)
        assert item.context
        assert item.context in prompt.text
        assert item.prompt in prompt.text or hasattr(BASELINES[name], "steps")
        assert prompt.text.endswith("<assistant>")


def test_a_system_turn_falls_back_to_the_user_turn() -> None:
    messages = (Message("system", "CONTEXT"), Message("user", "ASK"))
    assert render(TemplateTokenizer(CHATML), messages, "CONTEXT").messages == messages
    for template in (REFUSES, DROPS):
        prompt = render(TemplateTokenizer(template), messages, "CONTEXT")
        assert prompt.text == "<user>CONTEXT\n\nASK</s><assistant>"
        assert prompt.messages == (Message("user", "CONTEXT\n\nASK"),)


def test_an_instruction_in_the_system_turn_is_not_lost_either() -> None:
    messages = (Message("system", "CONTEXT INSTRUCTION"), Message("user", "ASK CONTEXT"))
    assert "INSTRUCTION" in render(TemplateTokenizer(DROPS), messages, "CONTEXT").text


def test_a_template_that_loses_the_context_is_an_error() -> None:
    with pytest.raises(ContextLostError, match="CONTEXT"):
        render(TemplateTokenizer(DROPS_ALL), (Message("system", "CONTEXT"), Message("user", "ASK")), "CONTEXT")
    broken = REFUSES + "{{ raise_exception('never') }}"
    with pytest.raises(ContextLostError, match="rejects"):
        render(TemplateTokenizer(broken), (Message("user", "ASK"),), None)


def test_without_context_the_profile_is_absent() -> None:
    item = PERSONA[0]
    assert BASELINES["no-context"].messages(item) == (Message("user", item.prompt),)


def test_which_baselines_apply() -> None:
    def names(task: str) -> set[str]:
        item = TASKS[task].items("eval")[0]
        return {n for n, b in BASELINES.items() if b.applies(TASKS[task], item) and getattr(b, "default", True)}

    assert names("persona") == {"no-context", "profile", "profile-instruction", "few-shot"}
    assert names("arithmetic") == names("facts") == {"plain", "few-shot", "chain-of-thought"}


def test_few_shot_shows_the_demonstrations_before_the_prompt() -> None:
    item = PERSONA[0]
    messages = BASELINES["few-shot"].messages(item)
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[1].content == item.demonstrations[0].prompt
    assert messages[-1].content == item.prompt


def test_missing_context_keeps_the_prompt() -> None:
    contrasts = RECIPES["mipo-missing"].contrasts(PERSONA, random.Random(0))
    assert all(c.context is None and c.prompt == i.prompt for c, i in zip(contrasts, PERSONA, strict=True))
    for name, baseline in BASELINES.items():
        if baseline.uses_context and name != "chain-of-thought" and not hasattr(baseline, "steps"):
            assert baseline.messages(contrasts[0]) == (Message("user", PERSONA[0].prompt),)


def test_random_context_is_another_users() -> None:
    contrasts = RECIPES["mipo-random"].contrasts(PERSONA, random.Random(0))
    for contrast, item in zip(contrasts, PERSONA, strict=True):
        assert contrast.prompt == item.prompt
        assert contrast.context != item.context
        assert contrast.user_id != item.user_id
        assert contrast.demonstrations != item.demonstrations


def test_random_prompts_are_a_derangement_that_uses_every_item_once() -> None:
    contrasts = RECIPES["mipo-random"].contrasts(PLAIN, random.Random(0))
    assert all(c.id != i.id for c, i in zip(contrasts, PLAIN, strict=True))
    assert sorted(c.id for c in contrasts) == sorted(i.id for i in PLAIN)


def test_contrasts_depend_on_the_seed() -> None:
    draw = [[c.id for c in RECIPES["mipo-random"].contrasts(PLAIN, random.Random(s))] for s in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]


def test_nothing_to_contrast_is_an_error() -> None:
    one = [Item("a", "p", "t", "u", "c"), Item("b", "q", "t", "v", "c")]
    with pytest.raises(ValueError, match="two users"):
        RECIPES["mipo-random"].contrasts(one, random.Random(0))
    with pytest.raises(ValueError, match="two different prompts"):
        RECIPES["mipo-random"].contrasts([Item("a", "p", "t")], random.Random(0))


def test_the_system_text_goes_into_the_user_turn_on_request() -> None:
    messages = (Message("system", "CONTEXT"), Message("user", "ASK"))
    prompt = render(TemplateTokenizer(CHATML), messages, "CONTEXT", ChatConfig(system_in_user=True))
    assert prompt.messages == (Message("user", "CONTEXT\n\nASK"),)


def test_the_template_gets_the_variables_of_the_configuration() -> None:
    template = CHATML + "{{ date_string }}{{ '<think>' if enable_thinking else '' }}"
    messages = (Message("user", "ASK"),)
    assert render(TemplateTokenizer(template), messages, None).text.endswith("<assistant>26 Jul 2024")
    chat = ChatConfig(template={"enable_thinking": True})
    assert render(TemplateTokenizer(template), messages, None, chat).text.endswith("2024<think>")


INTRODUCES = "{% if messages[0].role != 'system' %}<system>You are Robot, a helpful assistant.</s>{% endif %}"


def test_a_template_that_introduces_the_model_is_noticed() -> None:
    qwen = TemplateTokenizer(INTRODUCES + CHATML)
    assert own_system_text(qwen) == "<system>You are Robot, a helpful assistant.</s><user>"
    assert own_system_text(qwen, ChatConfig(system_in_user=True)) is None
    assert own_system_text(TemplateTokenizer(CHATML)) is None
    assert own_system_text(TemplateTokenizer("<head>Today is the 26 July</s>" + CHATML)) is None  # both prompts have it
