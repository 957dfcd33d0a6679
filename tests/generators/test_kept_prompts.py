"""Prompts that a store keeps: what decides their key, and that no tokenizer is loaded for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.kept_prompts import render_kept, tokenizer_key
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement, resolve_threads
from mipo_bench.harness.protocols import Chat
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Message

PLACEMENT = Placement(threads=1)
CHATS = [
    Chat((Message("system", "I like brevity."), Message("user", "hello")), "I like brevity."),
    Chat((Message("user", "hello"),), "a context that is lost"),
    Chat((Message("user", "hello"), Message("assistant", "Well, ")), None),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = shutil.copytree(embedded_folder(), tmp_path / "model")
    assert isinstance(copied, Path)
    return copied


def generator(folder: Path, store: Store, placement: Placement = PLACEMENT) -> HFGenerator:
    return HFGenerator(folder, "key", placement, remember=store.remembered)


def loads_tokenizer(made: HFGenerator) -> bool:
    return "tokenizer" in made.__dict__


def test_a_chat_that_was_rendered_once_needs_no_tokenizer(store: Store) -> None:
    first, second = (generator(embedded_folder(), store) for _ in range(2))
    rendered = first.render_all(CHATS)
    assert rendered == [first.render(*CHATS[0]), None, first.render(*CHATS[2])]
    facts = (first.digest, first.end_of_turn_token, first.control_tokens)
    assert second.render_all(CHATS) == rendered
    assert (second.digest, second.end_of_turn_token, second.control_tokens) == facts
    assert loads_tokenizer(first)
    assert not loads_tokenizer(second)
    assert second.render_all(CHATS[::-1]) == rendered[::-1]
    assert loads_tokenizer(second)


def test_whatever_decides_a_prompt_is_part_of_its_key(store: Store, folder: Path) -> None:
    keys = {tokenizer_key(folder, PLACEMENT)}
    for changed in (ChatConfig(system_in_user=True), ChatConfig(template={"enable_thinking": False})):
        keys.add(tokenizer_key(folder, replace(PLACEMENT, chat=changed)))
    keys.add(tokenizer_key(folder, replace(PLACEMENT, trust_remote_code=True)))
    for name in ("chat_template.jinja", "tokenizer.json", "config.json"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        keys.add(tokenizer_key(folder, PLACEMENT))
    assert len(keys) == 7
    weights = folder / "model.safetensors"
    before = tokenizer_key(folder, PLACEMENT)
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert tokenizer_key(folder, PLACEMENT) == before


def test_a_changed_template_renders_again(store: Store, folder: Path) -> None:
    chats = [Chat((Message("user", "hello"),), None)]
    [before] = generator(folder, store).render_all(chats)
    template = folder / "chat_template.jinja"
    template.write_text("NEW " + template.read_text())
    [after] = generator(folder, store).render_all(chats)
    assert before is not None
    assert after is not None
    assert after.text == f"NEW {before.text}"


def test_a_template_with_todays_date_is_kept_for_a_day_only(folder: Path) -> None:
    plain = tokenizer_key(folder, PLACEMENT)
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now(format_of_date) }}" + template.read_text())
    dated = tokenizer_key(folder, PLACEMENT)
    assert [a for a, b in zip(plain, dated, strict=True) if a != b][1:] == [""]


@pytest.mark.parametrize("other", [CHATS[:2], CHATS[::-1], [CHATS[0]._replace(context=None), *CHATS[1:]]])
def test_other_chats_have_another_key(store: Store, other: list[Chat]) -> None:
    rendered: list[Chat] = []
    made = generator(embedded_folder(), store)

    def render(chat: Chat) -> object:
        rendered.append(chat)
        return made.render(*chat)

    for chats in (CHATS, CHATS, other, other):
        render_kept(chats, ["key"], store.remembered, render)  # type: ignore[arg-type]
    assert rendered == [*CHATS, *other]


def test_a_damaged_memo_is_named_and_made_again(store: Store) -> None:
    rendered = generator(embedded_folder(), store).render_all(CHATS)
    store.database.execute("UPDATE memos SET value = x'00'")
    assert generator(embedded_folder(), store).render_all(CHATS) == rendered
    assert [name.split()[0] for name in store.damaged] == ["memo"]


def test_threads_are_read_from_the_environment_where_it_alone_decides() -> None:
    import torch

    assert resolve_threads({"OMP_NUM_THREADS": "1"}, cores=2) == 1
    assert resolve_threads({"OMP_NUM_THREADS": "2"}, cores=2) == 2
    for unclear in ({}, {"OMP_NUM_THREADS": "9"}, {"OMP_NUM_THREADS": "1,2"}, {"OMP_NUM_THREADS": "0"}):
        assert resolve_threads(unclear, cores=2) == torch.get_num_threads()
    assert resolve_threads({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "1"}, cores=2) == torch.get_num_threads()
