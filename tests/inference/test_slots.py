"""Answers in slots: the same whatever else is asked, and what transformers itself would answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import answers, chats, check_independence, make_model, mixed_requests
from transformers import MambaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.forward import Forward
from mipo_bench.harness.inference.layers.packed_linear import PackedLinear
from mipo_bench.harness.inference.shapes import COARSE, FINE, Shapes
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.protocols import LikelihoodRequest, Request
from mipo_bench.harness.types import Decoding

TINY = "llama", "qwen2", "gemma2", "mistral", "gpt_neox"


@pytest.fixture(scope="module", params=TINY)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HFGenerator:
    folder = make_model(request.param, tmp_path_factory.mktemp(request.param))
    return HFGenerator(folder, request.param, Placement(threads=1, batch_size=8))


@pytest.fixture(scope="module")
def embedded() -> HFGenerator:
    return HFGenerator(model_folder.embedded_folder(), "embedded", Placement(threads=1, batch_size=16))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> HFGenerator:
    """A model whose prompts are computed one by one, with grouped queries and packed linear layers."""
    folder = make_model("llama", tmp_path_factory.mktemp("large"), hidden_size=1024, intermediate_size=5632)
    return HFGenerator(folder, "large", Placement(threads=1, batch_size=8))


def test_an_answer_in_the_shapes_of_a_gpu_depends_on_its_own_request_alone(tiny: HFGenerator) -> None:
    tiny = HFGenerator(tiny.folder, "coarse", tiny.placement)
    tiny.decoder.forward.shapes = COARSE
    check_independence(tiny, mixed_requests(30))


def test_prompts_of_several_caches_enter_slots_together(tiny: HFGenerator) -> None:
    """In any order, the shorter ones of a cache before the longer ones too."""
    forward, ids, plain = tiny.decoder.forward, tuple(range(10, 80)), by_transformers(tiny)
    with torch.inference_mode():
        by_length = {len(p.ids): p for p in forward.prefill([ids[:5], ids, ids[3:12], ids[1:70]])}
        rows = {6: by_length[5], 1: by_length[9], 0: by_length[69], 3: by_length[70]}
        together, alone = (SlotBatch(forward, 8, 128) for _ in range(2))
        together.insert(list(rows), list(rows.values()))
        for row, prompt in rows.items():
            alone.insert([row], [prompt])
        columns = [len(rows[row].ids) if row in rows else 0 for row in range(8)]
        found, expected = (slots.step([50] * 8, columns)[list(rows)] for slots in (together, alone))
        assert torch.equal(found, expected)
        for logits, prompt in zip(found, rows.values(), strict=True):
            right = plain(torch.tensor([[*prompt.ids, 50]])).logits[0, -1]
            torch.testing.assert_close(logits, right, rtol=1e-3, atol=1e-4)


def test_the_logits_of_a_prompt_do_not_hold_those_of_its_batch(tiny: HFGenerator, large: HFGenerator) -> None:
    for model in (tiny, large):
        with torch.inference_mode():
            for prompt in model.decoder.forward.prefill([tuple(range(10, 30)), tuple(range(11, 25))]):
                assert prompt.logits.untyped_storage().nbytes() == prompt.logits.numel() * 4


def test_a_text_is_greedy_where_every_token_is_the_likeliest(tiny: HFGenerator) -> None:
    prompt, plain = tuple(range(10, 40)), by_transformers(tiny)
    with torch.inference_mode():
        first = int(plain(torch.tensor([prompt])).logits[0, -1].argmax())
        second = int(plain(torch.tensor([[*prompt, first]])).logits[0, -1].argmax())
        texts = [(first,), (first + 1,), (first, second), (first, second + 1), (first + 1, second)]
        (found,) = tiny.decoder.scorer.likelihoods([(prompt, texts)])
    assert [figure.greedy for figure in found] == [True, False, True, False, False]


@pytest.mark.parametrize("shapes", [FINE, COARSE])
def test_no_prompt_is_padded_beyond_learned_positions(shapes: Shapes, tmp_path: Path) -> None:
    model = HFGenerator(make_model("gpt2", tmp_path, n_positions=100), "gpt2", Placement(threads=1, batch_size=8))
    model.decoder.forward.shapes = shapes
    asked = [Request("abcd" * 24 + "efgh"[:n], 0, Decoding(4 - n, 0.0)) for n in range(4)]
    for request, response in zip(asked, answers(model, asked), strict=True):
        assert (response.n_prompt, response.n_tokens) == (len(request.prompt), request.decoding.max_new_tokens)
    question = LikelihoodRequest("abcd" * 24 + "e", ("fgh",))
    ((_, (found,)),) = model.likelihoods([question])
    plain, ids = by_transformers(model), model.tokenizer.encode(question.prompt + "fgh", add_special_tokens=False)
    with torch.inference_mode():
        logprobs = torch.log_softmax(plain(torch.tensor([ids])).logits[0, 96:-1], -1)
    assert found.logprob == pytest.approx(float(logprobs[range(3), ids[97:]].sum()), abs=1e-3)


def test_an_answer_of_a_large_model_depends_on_its_own_request_alone(large: HFGenerator) -> None:
    shared = "<s>" + "<|user|>abc def ghi " * 20 + "</s>"
    further = [Request(f"{shared}<|user|>jkl {n} mno pqr stu", n, Decoding(12, 1.0)) for n in range(6)]
    check_independence(large, [*mixed_requests(14), *further])


def test_a_large_model_computes_what_prompts_share_once_and_right(large: HFGenerator) -> None:
    """Against a plain call of the model as transformers loads it."""
    plain = AutoModelForCausalLM.from_pretrained(large.folder)
    forward = large.decoder.forward
    shared = (0, *range(10, 90), 1)
    prompts = [(*shared, *range(20 + n, 60)) for n in range(3)] + [tuple(range(5, 30))]
    calls: list[int] = []
    hook = large.model.register_forward_pre_hook(
        lambda module, args, options: calls.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        with torch.inference_mode():
            found = {prompt.ids: prompt.logits for prompt in forward.prefill(prompts)}
            for ids in prompts:
                expected = plain(torch.tensor([ids])).logits[0, -1]
                torch.testing.assert_close(found[ids], expected, rtol=1e-4, atol=1e-5)
    finally:
        hook.remove()
    assert sorted(calls) == [25, 38, 39, 40, len(shared)]
    assert any(isinstance(layer, PackedLinear) for layer in large.model.modules())


def test_a_large_model_in_bfloat16_is_packed_where_the_cpu_can_and_answers_depend_on_their_request_alone(
    large: HFGenerator,
) -> None:
    rounded = HFGenerator(large.folder, "rounded", Placement(threads=1, batch_size=8, dtype="bfloat16"))
    check_independence(rounded, mixed_requests(14))
    can_pack = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    assert any(isinstance(layer, PackedLinear) for layer in rounded.model.modules()) is can_pack
    plain = AutoModelForCausalLM.from_pretrained(large.folder, dtype=torch.bfloat16)
    ids = tuple(range(5, 30))
    with torch.inference_mode():
        (found,) = rounded.decoder.forward.prefill([ids])
        expected = plain(torch.tensor([ids])).logits[0, -1].float()
    torch.testing.assert_close(found.logits, expected, rtol=2e-2, atol=2e-2)


def test_an_answer_depends_on_its_own_request_alone(tiny: HFGenerator) -> None:
    check_independence(tiny, mixed_requests(60))


def test_an_answer_of_the_embedded_model_depends_on_its_own_request_alone(embedded: HFGenerator) -> None:
    check_independence(embedded, chats(embedded, 60))


def test_two_threads_round_all_rows_alike(embedded: HFGenerator) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert HFGenerator(embedded.folder, "two", Placement(threads=2)).decoder.slot_support.rows_round_alike
    finally:
        torch.set_num_threads(before)


def by_transformers(generator: HFGenerator) -> Any:
    """The same weights in the layers of transformers: those of `generator.model` may be lighter ones."""
    return AutoModelForCausalLM.from_pretrained(generator.folder)


def test_greedy_answers_are_those_of_transformers(tiny: HFGenerator) -> None:
    generate = by_transformers(tiny).generate
    asked = [Request("abc def " * n, 0, Decoding(100, 0.0)) for n in (1, 4, 15)]
    for request, response in zip(asked, answers(tiny, asked), strict=True):
        ids = tiny.tokenizer(request.prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        out = generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=100, do_sample=False)
        text = str(tiny.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()
        assert (response.text, response.n_prompt) == (text, ids.shape[1])


@pytest.mark.parametrize(("batch_size", "shapes"), [(8, FINE), (8, COARSE), (1, FINE)])
def test_likelihoods_are_those_of_a_plain_call_and_independent(
    tiny: HFGenerator, batch_size: int, shapes: Shapes
) -> None:
    tiny, plain = (
        HFGenerator(tiny.folder, "rows", replace(tiny.placement, batch_size=batch_size)),
        by_transformers(tiny),
    )
    tiny.decoder.forward.shapes = shapes  # on a CPU as well
    asked = [LikelihoodRequest("abc," * n, ("d", "efg h", "", "h" * 90)) for n in (1, 5, 30)]
    found = dict(tiny.likelihoods(asked))
    assert tiny.decoder.slot_support.supported
    assert dict(tiny.likelihoods(asked[2:])) == {0: found[2]}
    one = LikelihoodRequest(asked[1].prompt, ("efg h",))
    assert dict(tiny.likelihoods([one])) == {0: (found[1][1],)}
    for position, question in enumerate(asked):
        prompt = tiny.tokenizer.encode(question.prompt, add_special_tokens=False)
        for text, likelihood in zip(question.texts, found[position], strict=True):
            tail = tiny.tokenizer.encode(text, add_special_tokens=False)
            with torch.inference_mode():
                logits = plain(torch.tensor([prompt + tail])).logits[0, len(prompt) - 1 : -1]
            direct = torch.log_softmax(logits[: len(tail)], -1)[range(len(tail)), tail].sum()
            assert likelihood.logprob == pytest.approx(float(direct), abs=1e-3)
            assert likelihood.n_tokens == len(tail)


def test_a_contrast_moves_the_logits_as_the_paper_says(tiny: HFGenerator) -> None:
    """The first token of context-aware decoding, computed by hand (arXiv 2305.14739)."""
    prompt, contrast = "abc def " * 9, "def"
    ids, plain = (
        [tiny.tokenizer.encode(text, add_special_tokens=False) for text in (prompt, contrast)],
        by_transformers(tiny),
    )
    with torch.inference_mode():
        right, wrong = (plain(torch.tensor([i])).logits[0, -1] for i in ids)
    for weight in (0.0, 0.5, 20.0):
        expected = int(((1 + weight) * right - weight * wrong).argmax())
        decoding = Decoding(1, 0.0)
        (response,) = answers(tiny, [Request(prompt, 0, decoding, (), contrast, weight)])
        assert response.text == str(tiny.tokenizer.decode([expected], skip_special_tokens=True)).strip()
    plain, none = answers(tiny, [Request(prompt, 3, Decoding(30, 1.0), (), c, 0.0) for c in (None, contrast)])
    assert plain == none


def test_a_response_ends_before_its_stop_string(embedded: HFGenerator) -> None:
    asked = [r for r in chats(embedded, 12) if not r.options]
    for request, whole in zip(asked, answers(embedded, asked), strict=True):
        words = whole.text.split(" ")
        stop = f" {words[len(words) // 2]} {words[len(words) // 2 + 1]}"
        d = request.decoding
        stopping = Decoding(d.max_new_tokens, d.temperature, d.top_p, ("never said", stop))
        (cut,) = answers(embedded, [Request(request.prompt, request.seed, stopping)])
        assert cut.text == whole.text[: whole.text.find(stop)].strip()
        assert (cut.finish, cut.n_tokens < whole.n_tokens) == ("stop", True)


def test_without_new_tokens_only_options_are_computed(embedded: HFGenerator) -> None:
    asked = [r for r in chats(embedded, 12) if r.options]
    full = answers(embedded, asked)
    bare = answers(embedded, [Request(r.prompt, r.seed, Decoding(0, 0.0), r.options) for r in asked])
    assert [r.option_logprobs for r in bare] == [r.option_logprobs for r in full]
    assert {(r.text, r.n_tokens, r.finish) for r in bare} == {("", 0, "stop")}
    assert [r.n_prompt for r in bare] == [r.n_prompt for r in full]


@pytest.mark.parametrize(("shapes", "few", "excess"), [(FINE, 45, 1 / 4), (COARSE, 16, 1 / 2)])
def test_the_width_of_a_slot_is_a_function_of_the_tokens_with_few_values(
    shapes: Shapes, few: int, excess: float
) -> None:
    widths = [shapes.columns(n) for n in range(1, 9000)]
    least = shapes.columns(1)
    assert all(n <= width < n + max(least, n * excess + 1) for n, width in enumerate(widths, start=1))
    assert len(set(widths)) < few
    assert widths == sorted(widths)


@pytest.mark.parametrize(("shapes", "few"), [(FINE, 65), (COARSE, 30)])
def test_the_width_of_a_prompt_is_a_function_of_its_tokens_with_few_values(shapes: Shapes, few: int) -> None:
    widths = [shapes.width(n) for n in range(1, 9000)]
    assert all(n <= width < n + shapes.step(n) for n, width in enumerate(widths, start=1))
    assert len(set(widths)) < few
    assert widths == sorted(widths)
    assert all(shapes.width(width) == width for width in set(widths))


def test_prompts_of_one_width_are_prefilled_together_and_equal_ones_once(embedded: HFGenerator) -> None:
    forward = Forward(embedded.model, 16, [])
    calls: list[tuple[int, ...]] = []
    hook = embedded.model.register_forward_pre_hook(
        lambda module, args, options: calls.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    prompts = [tuple(range(n % 3, length)) for n in range(30) for length in (20, 30, 60)]
    try:
        with torch.inference_mode():
            found = {prompt.ids: prompt for prompt in forward.prefill(prompts)}
    finally:
        hook.remove()
    assert set(found) == set(prompts)
    assert sorted(calls) == [(16, 32), (16, 64)]


def test_only_a_small_model_on_a_cpu_computes_idle_prompts(embedded: HFGenerator, large: HFGenerator) -> None:
    forward = Forward(embedded.model, 16, [])
    assert [forward.prompt_rows(width) for width in (16, 64, 256, 1024, 4096)] == [16, 16, 4, 1, 1]
    assert Forward(large.model, 16, []).prompt_rows(16) == 1


def test_an_architecture_without_slots_is_answered_one_by_one(tmp_path: Path) -> None:
    """A model without a KV cache takes transformers' own loop, and a note says so."""
    folder = make_model("llama", tmp_path)
    shape: dict[str, Any] = {"vocab_size": 261, "hidden_size": 32, "num_hidden_layers": 2, "eos_token_id": 1}
    AutoModelForCausalLM.from_config(MambaConfig(**shape, state_size=4)).save_pretrained(folder)
    generator = HFGenerator(folder, "mamba", Placement(threads=1, batch_size=4))
    asked = [Request(r.prompt, r.seed, r.decoding, r.options) for r in mixed_requests(8)]
    together = answers(generator, asked)
    assert [answers(generator, [r])[0] for r in asked] == together
    assert "one by one" in generator.notes[0]
