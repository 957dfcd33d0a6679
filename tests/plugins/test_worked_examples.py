"""The baselines and the recipe of docs/plugins.md work as they are printed there."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from mipo_bench.harness.plugins.registry import Plugins, load_plugins
from mipo_bench.harness.types import Item, SteppedBaseline
from mipo_bench.tasks.embedded.persona import Persona

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
FILES = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
ITEMS = Persona().items("train")


def load(name: str, folder: Path) -> Plugins:
    file = folder / name
    file.write_text(FILES[name], encoding="utf-8")
    return load_plugins([file])


def test_the_page_shows_two_baselines_and_a_recipe() -> None:
    assert list(FILES) == ["reminder.py", "draft_then_fit.py", "mipo_next_user.py"]


def test_the_baseline_shows_the_context_after_the_request(tmp_path: Path) -> None:
    reminder = load("reminder.py", tmp_path).baselines["reminder"]
    item = ITEMS[0]
    assert reminder.applies(Persona(), item)
    assert [m.content for m in reminder.messages(item)] == [f"{item.prompt}\n{item.context}"]
    assert [m.content for m in reminder.messages(Item("1", "Hello?", ""))] == ["Hello?"]


def test_the_second_step_shows_the_draft_and_the_context(tmp_path: Path) -> None:
    stepped = load("draft_then_fit.py", tmp_path).baselines["draft-then-fit"]
    item = ITEMS[0]
    assert isinstance(stepped, SteppedBaseline)
    assert stepped.applies(Persona(), item)
    assert [m.content for m in stepped.messages(item)] == [item.prompt]
    request, draft, wish = stepped.follow_up(item, ["a draft"])
    assert (request.content, draft.content) == (item.prompt, "a draft")
    assert str(item.context) in wish.content


def test_the_recipe_contrasts_each_item_with_the_next_users_context(tmp_path: Path) -> None:
    recipe = load("mipo_next_user.py", tmp_path).recipes["mipo-next-user"]
    contrasts = recipe.contrasts(ITEMS, random.Random(0))
    assert [c.prompt for c in contrasts] == [item.prompt for item in ITEMS]
    assert all(c.context != item.context for c, item in zip(contrasts, ITEMS, strict=True))
    with pytest.raises(ValueError, match="two users"):
        recipe.contrasts(ITEMS[:1], random.Random(0))
