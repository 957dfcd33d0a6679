"""`--backend vllm` without a GPU: lm-eval's own class for vLLM drives an engine of vLLM's protocol on a CPU.

The engine stands in for the package vllm: it takes token ids and sampling parameters, and answers with texts and
log-probabilities of the embedded model. Answers must be those of the transformers backend.
"""

from __future__ import annotations

import gc
import importlib.machinery
import os
import shutil
import sys
import types
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from golden_files import run
from transformers import AutoModelForCausalLM, AutoTokenizer

from mipo_bench.harness.backends.lm_eval import LMEvalBackend
from mipo_bench.harness.backends.select import backend_maker
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Generator, LikelihoodRequest, Request
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding, Message, Response
from mipo_bench.reports.records.report_file import load_report


@dataclass
class SamplingParams:
    """The fields of vLLM's record that a request may set; any other name is an error, as it is there."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int = 16
    stop: list[str] = field(default_factory=list)
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass(frozen=True)
class Completion:
    text: str


@dataclass(frozen=True)
class Output:
    outputs: list[Completion]
    prompt_logprobs: list[dict[int, float] | None] | None


@dataclass(frozen=True)
class TokensPrompt:
    prompt_token_ids: list[int]


class LLM:
    """vLLM's class of the same name, on a CPU: one prompt at a time, greedy. It records what it is given."""

    made: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[SamplingParams]] = []
    alive: ClassVar[weakref.WeakSet[LLM]] = weakref.WeakSet()

    def __init__(self, **arguments: Any) -> None:
        self.made.append(arguments)
        self.alive.add(self)
        folder = arguments["model"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, arguments["dtype"])).eval()
        window = arguments["max_model_len"] or self.model.config.max_position_embeddings
        self.llm_engine = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=window))

    @torch.no_grad()
    def generate(
        self, prompts: list[TokensPrompt], *, sampling_params: list[SamplingParams], use_tqdm: bool, lora_request: None
    ) -> list[Output]:
        assert use_tqdm is not None
        assert lora_request is None
        self.asked.extend(sampling_params)
        return [self._one(p.prompt_token_ids, s) for p, s in zip(prompts, sampling_params, strict=True)]

    def _one(self, ids: list[int], asked: SamplingParams) -> Output:
        window = self.llm_engine.model_config.max_model_len
        if len(ids) + 1 > window:
            raise ValueError(f"the prompt has {len(ids)} tokens, and the window {window}")
        logprobs = None
        if asked.prompt_logprobs is not None:
            rows = torch.log_softmax(self.model(torch.tensor([ids])).logits[0].float(), -1)
            pairs = zip(rows, ids[1:], strict=False)
            logprobs = [None, *({int(r.argmax()): float(r.max()), token: float(r[token])} for r, token in pairs)]
        return Output([Completion(self._text(ids, asked) if asked.detokenize else "")], logprobs)

    def _text(self, ids: list[int], asked: SamplingParams) -> str:
        made: list[int] = []
        text = ""
        while len(made) < asked.max_tokens and len(ids) + len(made) < self.llm_engine.model_config.max_model_len:
            token = int(self.model(torch.tensor([[*ids, *made]])).logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            made.append(token)
            text = str(self.tokenizer.decode(made, skip_special_tokens=asked.skip_special_tokens))
            if found := [text.index(stop) for stop in asked.stop if stop in text]:
                return text[: min(found)]
        return text


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[LLM]]:
    """The package vllm with this engine, as lm-eval imports it."""
    info = tmp_path / "site" / "vllm-0.11.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.11.0\n")
    monkeypatch.syspath_prepend(str(info.parent))
    contents: dict[str, dict[str, object]] = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams, "TokensPrompt": TokensPrompt},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": object},
        "vllm.renderers": {},
        "vllm.renderers.hf": {"resolve_chat_template": lambda **_: None},
        "vllm.tokenizers": {"get_tokenizer": lambda name, **_: AutoTokenizer.from_pretrained(name)},
    }
    for name, values in contents.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
    LLM.made.clear()
    LLM.asked.clear()
    yield LLM
    sys.modules.pop("lm_eval.models.vllm_causallms", None)


def generator(store: Store, backend: str, *settings: str) -> Generator:
    options = {"backend": backend, "model": str(embedded_folder()), "recipes": [], "tasks": ["arithmetic"]}
    return backend_maker(load_config(None, list(settings), options))(store).base


CHATS = (
    [Message("user", "Sam has 3 coins and finds 4 more. How many coins has Sam?")],
    [Message("system", "I like tea."), Message("user", "Tell me about a good morning.")],
    [Message("user", "What is the capital of France?"), Message("assistant", "Paris."), Message("user", "And Italy?")],
)


def answered(base: Generator, decoding: Decoding, options: tuple[str, ...] = ()) -> list[Response]:
    prompts = [base.render(chat, None).text for chat in CHATS]
    found = base.generate([Request(prompt, 7, decoding, options) for prompt in prompts])
    return [response for _, response in sorted(found, key=lambda pair: pair[0])]


def test_prompts_answers_and_likelihoods_are_those_of_transformers(vllm: type[LLM], tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        theirs, ours = generator(store, "vllm"), generator(store, "transformers")
        for chat in CHATS:
            assert theirs.render(chat, None).text == ours.render(chat, None).text
        assert (theirs.end_of_turn_token, theirs.digest != ours.digest) == (ours.end_of_turn_token, True)
        for decoding in (Decoding(14, 0.0), Decoding(14, 0.0, stop=("e",)), Decoding(3, 0.0)):
            both = [[(r.text, r.n_prompt, r.finish) for r in answered(base, decoding)] for base in (theirs, ours)]
            assert both[0] == both[1]
        options = ("Paris", "Rome", "a cup of tea")
        chosen = [answered(base, Decoding(0, 0.0), options) for base in (theirs, ours)]
        for one, other in zip(*chosen, strict=True):
            assert one.option_logprobs == pytest.approx(other.option_logprobs, abs=1e-3)
        asked = [LikelihoodRequest(theirs.render(CHATS[0], None).text, ("seven", "7 coins"))]
        ((_, left),), ((_, right),) = list(theirs.likelihoods(asked)), list(ours.likelihoods(asked))
        assert [x.n_tokens for x in left] == [x.n_tokens for x in right]
        assert [x.logprob for x in left] == pytest.approx([x.logprob for x in right], abs=1e-3)
    assert len(vllm.made) == 1


def test_arguments_and_sampling_reach_the_engine(vllm: type[LLM], tmp_path: Path) -> None:
    settings = ("tensor_parallel_size=2", "gpu_memory_utilization=0.5", "max_model_len=512", "enforce_eager=true")
    with closing(Store(tmp_path / "store")) as store:
        base = generator(store, "vllm", *(f"backend_args.{setting}" for setting in settings), "dtype=float32")
        answered(base, Decoding(5, 0.7, 0.9, stop=("\n",)))
        quiet = generator(store, "vllm", "backend_args.tensor_parallel_size=2", "backend_args.max_model_len=512")
        loud = generator(store, "vllm", "backend_args.tensor_parallel_size=1", "backend_args.max_model_len=512")
    [made] = vllm.made
    wanted: dict[str, object] = {
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.5,
        "max_model_len": 512,
        "enforce_eager": True,
    }
    wanted |= {"model": str(embedded_folder()), "dtype": "float32", "load_format": "safetensors"}
    assert {name: made[name] for name in wanted} == wanted
    assert made["trust_remote_code"] is False
    assert quiet.digest != loud.digest  # sums are split otherwise, and rounded otherwise
    for asked in vllm.asked:
        assert (asked.temperature, asked.top_p, asked.seed, asked.max_tokens) == (0.7, 0.9, 7, 5)
        assert asked.stop[0] == "\n"


def test_a_prompt_beyond_the_window_scores_nothing_and_does_not_reach_the_engine(
    vllm: type[LLM], tmp_path: Path
) -> None:
    with closing(Store(tmp_path / "store")) as store:
        base = generator(store, "vllm", "backend_args.max_model_len=64")
        long = base.render([Message("user", "tea " * 100)], None).text
        short = base.render([Message("user", "tea")], None).text
        found = dict(base.generate([Request(text, 0, Decoding(8, 0.0)) for text in (long, short)]))
    assert (found[0].finish, found[1].finish in ("stop", "length")) == ("overflow", True)
    assert len(vllm.asked) == 1


@pytest.mark.parametrize("backend", ["vllm", "hf"])
def test_engines_of_several_checkpoints_are_not_in_memory_at_once(
    backend: str, vllm: type[LLM], tmp_path: Path
) -> None:
    """Each vLLM engine takes most of the GPU's memory: a second one could not start."""
    config = load_config(None, [], {"backend": backend, "model": str(embedded_folder()), "recipes": []})
    with closing(Store(tmp_path / "store")) as store:
        made = LMEvalBackend(config, embedded_folder(), Placement("cpu", "float32"), store)
        folders = [Path(shutil.copytree(embedded_folder(), tmp_path / name)) for name in ("one", "two")]
        models = [made.base, *(made._generator(folder, folder.name) for folder in folders)]
        for model in (*models, models[0]):
            list(model.generate([Request("tea", 0, Decoding(1, 0.0))]))
            loaded = [m for m in models if "lm" in m._model.__dict__]  # type: ignore[attr-defined]
            assert model in loaded
            assert len(loaded) <= (1 if backend == "vllm" else 2)
        gc.collect()
    assert len(vllm.made) == (4 if backend == "vllm" else 0)
    assert len(vllm.alive) <= 1


@pytest.mark.usefixtures("vllm")
def test_the_users_context_must_be_in_the_rendered_prompt(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        base = generator(store, "vllm")
        with pytest.raises(ContextLostError):
            base.render([Message("user", "hello")], "I like tea.")


def test_a_whole_run_has_its_report_and_is_not_computed_twice(
    vllm: type[LLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = f"run --backend vllm --model {embedded_folder()} --task facts --limit 2 --recipes none --baselines plain"
    assert run(command, capsys).code == 0
    first, asked = load_report(tmp_path / "mipo-bench-report"), len(vllm.asked)
    assert first.model.backend == "vllm"
    assert asked
    assert run(command, capsys).code == 0
    assert len(vllm.asked) == asked
    assert [arm.scores for arm in load_report(tmp_path / "mipo-bench-report").arms] == [
        arm.scores for arm in first.arms
    ]


@pytest.mark.parametrize(("setting", "visible"), [("tensor_parallel_size=2", "0,1"), ("max_model_len=64", "0")])
def test_an_engine_on_several_gpus_sees_them_all(setting: str, visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    options = {"backend": "vllm", "model": "m/m", "recipes": []}
    prepare_process(load_config(None, [f"backend_args.{setting}"], options), Processes())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("--set backend_args.tensor_parallel_size=2", "over 2 GPUs, and a training in the same process must see one"),
        ("--set backend_args.tensor_parallel_size=two --recipes none", "tensor_parallel_size = 'two' is not a whole"),
        ("--set backend_args.tensor_parallel_size=0 --recipes none", "tensor_parallel_size = 0 is not a whole number"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(
    settings: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = run(f"run --backend vllm --model {embedded_folder()} --task facts {settings}", capsys)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err


def test_without_the_package_the_message_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    refused = run(f"run --backend vllm --model {embedded_folder()} --task facts --recipes none", capsys)
    assert refused.code == 2
    assert "needs the package vllm, which is not installed: pip install 'lm-eval[vllm]'" in refused.err
