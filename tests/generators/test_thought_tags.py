"""Configured tags around thoughts that are special tokens of the tokenizer."""

from __future__ import annotations

from pathlib import Path

from real_models import make_chat_model

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import resolve_placement


def test_only_configured_tags_that_are_special_tokens_change_the_digest(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, further=("[MUSE]", "[/MUSE]"))
    kept = {}
    for tags in ("null", "[['[MUSE]', '[/MUSE]']]", "[['(', ')']]"):
        config = load_config(None, [f"thought_tags={tags}"], {"model": str(folder)})
        generator = HFGenerator(folder, "key", resolve_placement(config))
        kept[tags] = (generator.digest == "key", sorted(generator.decoder.codec.thought_tags.values()))
    assert list(kept.values()) == [(True, []), (False, ["[/MUSE]", "[MUSE]"]), (True, [])]
