"""Generation with the embedded model, compared with plain transformers."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.embedded.build import BuildSettings
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator, load_model
from mipo_bench.harness.generators.placement import Placement, resolve_placement
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import LikelihoodRequest, Request
from mipo_bench.harness.types import Decoding, Message, Response

FOLDER = model_folder.embedded_folder()
NO_STORE = Path("no-store")
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


def test_another_seed_is_another_sample(generator: HFGenerator) -> None:
    one, other = (answers(generator, requests(generator, SAMPLED, seed=seed)) for seed in (0, 1000))
    assert [r.text for r in one] != [r.text for r in other]


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


def test_a_model_whose_scores_are_no_numbers_answers_nothing() -> None:
    def damaged(folder: Path, placement: Placement) -> PreTrainedModel:
        model = load_model(folder, placement)
        with torch.no_grad():
            model.get_parameter("model.embed_tokens.weight").fill_(math.nan)
        return model

    broken = HFGenerator(FOLDER, "damaged", Placement("cpu", "float32", threads=1), load=damaged)
    with pytest.raises(ModelError, match="no numbers"):
        answers(broken, [Request("one", 0, GREEDY)])
    with pytest.raises(ModelError, match="no numbers"):
        list(broken.likelihoods([LikelihoodRequest("one", ("two",))]))


def copy_model(folder: Path) -> Path:
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_generation_defaults_of_a_model_folder_are_overruled(generator: HFGenerator, tmp_path: Path) -> None:
    """Qwen2.5 ships a repetition penalty and top-k. They must not affect greedy decoding."""
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


def test_a_configuration_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    folder = copy_model(tmp_path / "model")
    (folder / "config.json").write_text("[" * 5000)
    with pytest.raises(ModelError, match=r"cannot read .*config\.json"):
        model_folder.resolve_model(str(folder), NO_STORE)


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
        model_folder.resolve_model(str(folder), NO_STORE)


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "a/b/c", "gpt7"])
def test_a_model_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        model_folder.resolve_model(name, NO_STORE)


def test_a_hub_model_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="copy it here and pass the folder"):
        model_folder.resolve_model("nobody/no-such-model", NO_STORE)


def test_the_shipped_model_was_built_by_the_script_as_it_stands() -> None:
    built = json.loads((FOLDER / "build.json").read_text())
    assert built["recipe"] == json.loads(json.dumps(asdict(BuildSettings())))


def test_settings_that_change_rounding_are_part_of_the_keys() -> None:
    base = Placement("cpu", "float32", threads=1)
    others = [
        Placement("cpu", "float32", threads=2),
        Placement("cpu", "bfloat16", threads=1),
        Placement("cuda", "float32", threads=1, gpu="NVIDIA A100"),
        Placement("cuda", "float32", threads=1, gpu="NVIDIA H100"),
        Placement("cpu", "float32", threads=1, attention="eager"),
        Placement("cpu", "float32", threads=1, device_map="auto"),
        Placement("cpu", "float32", threads=1, max_length=100),
    ]
    identities = [place.numerics_key for place in (base, *others)]
    assert len(set(identities)) == len(identities)
    many = Placement("cpu", "float32", threads=1, batch_size=7)
    assert (many.numerics_key == base.numerics_key, many.generation_key == base.generation_key) == (True, False)
    slow = Placement("cuda", "float32", threads=2, gpu="NVIDIA H100")
    assert slow.numerics_key == others[3].numerics_key


def test_the_placement_settles_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # a run in this process may have set it
    placement = resolve_placement(load_config(None, [], {"model": "some/model"}))
    assert (placement.threads, placement.batch_size) == (torch.get_num_threads(), 32)
    with pytest.raises(ModelError, match="flash_attention_2"):
        resolve_placement(load_config(None, ["attention=flash_attention_2"], {}))


def test_a_template_that_introduces_the_model_is_noted(tmp_path: Path) -> None:
    template = copy_model(tmp_path / "model") / "chat_template.jinja"
    head = "{% if messages[0].role != 'system' %}You are Robot, a helpful assistant.{% endif %}"
    template.write_text(head + template.read_text())
    generator = HFGenerator(tmp_path / "model", "d", Placement(threads=1))
    generator.render([Message("user", "hello")], None)
    (note,) = generator.notes
    assert "You are Robot, a helpful" in note
    assert "chat.system_in_user=true" in note
