"""Generation on the embedded model, held against plain transformers."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from mipo_bench.harness import models
from mipo_bench.harness.embedded.build import Recipe
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generate import HFGenerator, Placement, RowSampler
from mipo_bench.harness.plugins import load_plugins
from mipo_bench.harness.provenance import model_digest
from mipo_bench.harness.types import Decoding, Message, Request, Response

FOLDER = models.embedded_folder()
GREEDY, SAMPLED = Decoding(24, 0.0), Decoding(24, 1.0)
PLUGINS = load_plugins()
PROMPTS = [item.prompt for item in PLUGINS.tasks["facts"].items("eval")[:12]]


@pytest.fixture(scope="module")
def generator() -> HFGenerator:
    return HFGenerator(FOLDER, "embedded", Placement("cpu", "float32", threads=1, batch_size=8))


def requests(generator: HFGenerator, decoding: Decoding, seed: int = 0) -> list[Request]:
    texts = [generator.render([Message("user", p)], None).text for p in PROMPTS]
    return [Request(t, seed + i, decoding) for i, t in enumerate(texts)]


def answers(generator: HFGenerator, asked: list[Request]) -> list[Response]:
    return [response for _, response in sorted(generator.generate(asked), key=lambda found: found[0])]


def test_any_text_round_trips_and_digits_stand_alone(generator: HFGenerator) -> None:
    tokenizer = generator.tokenizer
    for text in ("Hello, world!", "  two\n\tspaces ", "çå 漢字 😀 \x00\x7f", "x²≠½", "".join(map(chr, range(1, 256)))):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    ids = tokenizer.encode("price 1234567", add_special_tokens=False)
    assert [t for t in (str(tokenizer.decode(i)) for i in ids) if t.strip().isdigit()] == list("1234567")


def test_the_model_is_small_enough_to_ship() -> None:
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 10_000_000


def test_greedy_equals_plain_transformers(generator: HFGenerator) -> None:
    asked = requests(generator, GREEDY)[:3]
    for request, response in zip(asked, answers(generator, asked), strict=True):
        ids = generator.tokenizer(request.prompt, add_special_tokens=False, return_tensors="pt")
        out = generator.model.generate(**ids, max_new_tokens=24, do_sample=False)  # type: ignore[operator]
        new = out[0, ids["input_ids"].shape[1] :]
        assert response.text == str(generator.tokenizer.decode(new, skip_special_tokens=True)).strip()
        assert response.n_prompt == ids["input_ids"].shape[1]


def test_a_sample_does_not_depend_on_its_batch(generator: HFGenerator) -> None:
    asked = requests(generator, SAMPLED)
    together = answers(generator, asked)
    alone = [answers(generator, [r])[0] for r in asked]
    assert [r.text for r in together] == [r.text for r in alone]
    other = answers(generator, requests(generator, SAMPLED, seed=1000))
    assert [r.text for r in together] != [r.text for r in other]


def test_row_sampler_draws_from_the_nucleus() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, 1)
    sampler = RowSampler(Decoding(1, 1.0, 0.9), list(range(4000)), prompt_length=5)
    picked = sampler(torch.zeros(4000, 5, dtype=torch.long), logits).argmax(-1)
    shares = torch.bincount(picked, minlength=4) / 4000
    expected = torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95
    assert torch.allclose(shares, expected, atol=4 * (0.25 / 4000) ** 0.5)


def test_a_low_temperature_sharpens_and_a_tiny_nucleus_is_greedy() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0]]).repeat(500, 1)
    ids = torch.zeros(500, 1, dtype=torch.long)
    cold = RowSampler(Decoding(1, 0.05), list(range(500)), 1)(ids, logits).argmax(-1)
    narrow = RowSampler(Decoding(1, 1.0, 1e-6), list(range(500)), 1)(ids, logits).argmax(-1)
    assert (cold == 1).all()
    assert (narrow == 1).all()


def test_option_logprobs_equal_a_direct_computation(generator: HFGenerator) -> None:
    items = PLUGINS.tasks["facts"].items("eval")[:4]
    texts = [generator.render([Message("user", i.prompt)], None).text for i in items]
    asked = [Request(t, 0, Decoding(4, 0.0), i.options) for t, i in zip(texts, items, strict=True)]
    for request, response in zip(asked, answers(generator, asked), strict=True):
        assert response.option_logprobs is not None
        for option, value in zip(request.options, response.option_logprobs, strict=True):
            prompt = generator.tokenizer.encode(request.prompt, add_special_tokens=False)
            tail = generator.tokenizer.encode(option, add_special_tokens=False)
            with torch.inference_mode():
                logits = generator.model(torch.tensor([prompt + tail])).logits[0, len(prompt) - 1 : -1]
            direct = torch.log_softmax(logits, -1)[range(len(tail)), tail].sum()
            assert value == pytest.approx(float(direct), abs=1e-4)


def test_a_prompt_without_room_is_not_cut(generator: HFGenerator) -> None:
    fits, long = requests(generator, GREEDY)[:1], Request("word " * 1100, 0, GREEDY)
    responses = answers(generator, [*fits, long])
    assert [r.finish for r in responses] == ["stop", "overflow"]
    assert responses[1].n_prompt > 1000


def copy_model(folder: Path) -> Path:
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_generation_defaults_of_a_model_folder_are_overruled(generator: HFGenerator, tmp_path: Path) -> None:
    """Qwen2.5 ships a repetition penalty and top-k; they must not leak into greedy decoding."""
    folder = copy_model(tmp_path / "model")
    file = folder / "generation_config.json"
    defaults = json.loads(file.read_text())
    extra = {"repetition_penalty": 5.0, "top_k": 1, "do_sample": True, "temperature": 0.7, "no_repeat_ngram_size": 1}
    file.write_text(json.dumps(defaults | extra))
    other = HFGenerator(folder, "other", Placement("cpu", "float32", threads=1))
    for decoding in (GREEDY, SAMPLED):
        asked = requests(generator, decoding)
        assert [r.text for r in answers(other, asked)] == [r.text for r in answers(generator, asked)]


def test_the_digest_covers_weights_and_template_but_not_the_path(tmp_path: Path) -> None:
    folder = copy_model(tmp_path / "model")
    assert model_digest(folder) == model_digest(FOLDER)
    (folder / "README.md").write_text("other words")
    assert model_digest(folder) == model_digest(FOLDER)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert model_digest(folder) != model_digest(FOLDER)


@pytest.mark.parametrize(
    ("remove", "reason"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "no \\*.safetensors weights"),
        ("tokenizer_config.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path: Path, remove: str, reason: str) -> None:
    folder = copy_model(tmp_path / "model")
    (folder / remove).unlink()
    with pytest.raises(ModelError, match=reason):
        models.resolve(str(folder))


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "a/b/c", "gpt7"])
def test_a_model_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        models.resolve(name)


def test_a_hub_model_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="copy it here and pass the folder"):
        models.resolve("nobody/no-such-model")


def test_the_shipped_model_was_built_by_the_script_as_it_stands() -> None:
    built = json.loads((FOLDER / "build.json").read_text())
    assert built["recipe"] == json.loads(json.dumps(asdict(Recipe())))
