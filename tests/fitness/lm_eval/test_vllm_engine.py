"""The vLLM engine without vLLM: what is sent to it, and what is asked of it.

The engine here stands in for vLLM: it has the methods that are called, keeps the weights it is
sent, and computes prompt log-probabilities and greedy answers with them by transformers.
"""

from __future__ import annotations

import importlib.metadata
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from lm_eval.api.registry import model_registry
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

from evomerge.errors import FitnessError, MissingExtra
from evomerge.fitness.lm_eval import LmEval

ALL = {"docs": [0, None]}


class Engine:
    """What `vllm.LLM` is to the harness and to us."""

    made: ClassVar[list] = []

    def __init__(self, model, **options):
        self.options = options
        self.module = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        config = SimpleNamespace(max_model_len=self.module.config.max_position_embeddings)
        self.llm_engine = SimpleNamespace(model_config=config)
        self.calls = []
        Engine.made.append(self)

    def init_weight_transfer_engine(self, request):
        self.calls.append(("init", request["init_info"]))

    def start_weight_update(self):
        self.calls.append(("start",))

    def update_weights(self, request):
        self.calls.append(("update",))
        self.module.load_state_dict(request["update_info"]["tensors"], strict=True)

    def finish_weight_update(self, weight_version=None):
        self.calls.append(("finish",))

    def reset_prefix_cache(self):
        self.calls.append(("reset",))

    def generate(self, prompts, *, sampling_params, use_tqdm, lora_request):
        return [
            self._answer(prompt["prompt_token_ids"], params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    @torch.no_grad()
    def _answer(self, tokens, params):
        ids = torch.tensor([tokens])
        found = self.module(ids).logits[0].log_softmax(-1)
        if hasattr(params, "prompt_logprobs"):
            entries = [None]
            for row, token in zip(found[:-1], tokens[1:], strict=True):
                best = int(row.argmax())
                entries.append({token: float(row[token]), best: float(row[best])})
            return SimpleNamespace(prompt_logprobs=entries, outputs=[])
        new = self.module.generate(ids, max_new_tokens=params.max_tokens, do_sample=False)
        tokenizer = AutoTokenizer.from_pretrained(self.options["own_tokenizer"])
        text = tokenizer.decode(new[0, len(tokens) :], skip_special_tokens=True)
        return SimpleNamespace(outputs=[SimpleNamespace(text=text)])


class Source:
    """vLLM's base class of sources."""


class Sender:
    """vLLM's sender: drives the client through one update, as its documentation has it."""

    def __init__(self, init_info, *, client, source):
        self._client, self._source = client, source
        client.init_weight_transfer_engine({"packed": init_info.packed})

    def send_weights(self):
        self._client.start_weight_update()
        declared = self._source.metadata()
        sent = {name: tensor.clone() for name, tensor in self._source}
        assert [(one.name, one.dtype, one.shape) for one in declared] == [
            (name, tensor.dtype, tuple(tensor.shape)) for name, tensor in sent.items()
        ]
        self._client.update_weights({"tensors": sent})
        self._client.finish_weight_update()


def package(name, **members):
    module = ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    return module


@pytest.fixture
def vllm(monkeypatch):
    """Put the stand-in where vLLM would be."""
    modules = [
        package(
            "vllm",
            LLM=Engine,
            SamplingParams=SimpleNamespace,
            TokensPrompt=dict,
            __spec__=SimpleNamespace(),
        ),
        package("vllm.lora"),
        package("vllm.lora.request", LoRARequest=object),
        package("vllm.renderers"),
        package("vllm.renderers.hf", resolve_chat_template=lambda **_: None),
        package(
            "vllm.tokenizers",
            get_tokenizer=lambda path, **_: AutoTokenizer.from_pretrained(path),
        ),
        package("vllm.config", WeightTransferConfig=lambda backend: backend),
        package("vllm.distributed"),
        package(
            "vllm.distributed.weight_transfer",
            ParamMeta=lambda name, dtype, shape: SimpleNamespace(
                name=name, dtype=dtype, shape=shape
            ),
            WeightSource=Source,
            WeightTransferTrainerFactory=SimpleNamespace(
                trainer_init=lambda init_info, *, client, source: Sender(
                    init_info, client=client, source=source
                )
            ),
        ),
        package(
            "vllm.distributed.weight_transfer.ipc_engine",
            IPCTrainerInitInfo=lambda *, rank, packed: SimpleNamespace(rank=rank, packed=packed),
        ),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("lm_eval.models.vllm_causallms", "evomerge.fitness.lm_eval.vllm_engine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.32.0" if name == "vllm" else version(name)
    )
    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "0")
    monkeypatch.setattr(Engine, "made", [])
    # The harness notes classes by name when they are imported; ours is not to stay.
    monkeypatch.setitem(model_registry._objs, "vllm", "lm_eval.models.vllm_causallms:VLLM")
    from evomerge.fitness.lm_eval import vllm_engine  # noqa: PLC0415

    yield vllm_engine
    for name in ("lm_eval.models.vllm_causallms", "evomerge.fitness.lm_eval.vllm_engine"):
        sys.modules.pop(name, None)


def say_on_gpu(module, monkeypatch):
    """Let a module say that it is on a GPU."""
    kind = type(module)
    monkeypatch.setattr(
        module, "__class__", type(kind.__name__, (kind,), {"device": torch.device("cuda")})
    )


@pytest.mark.parametrize(
    ("name", "metric"), [("continued", "acc,none"), ("sorted", "exact_match,whole")]
)
def test_candidates_are_scored_with_their_own_weights(
    merges, tasks, vllm, monkeypatch, name, metric
):
    plain = LmEval(name, metric, include_path=tasks)
    plain_items = plain.list_items(ALL)
    expected = [merge.scored(plain, plain_items).examples for merge in merges]
    options = {"own_tokenizer": str(merges[0].folder), "batch_size": 5}
    fitness = LmEval(name, metric, include_path=tasks, engine="vllm", engine_args=options)
    items = fitness.list_items(ALL)
    for merge in merges:
        say_on_gpu(merge.module, monkeypatch)
    ours = [merge.scored(fitness, items) for merge in merges]
    assert [found.examples for found in ours] == expected
    assert ours[0] != ours[1]
    (engine,) = Engine.made  # one engine for both
    once = [("start",), ("update",), ("finish",), ("reset",)]
    assert engine.calls == [("init", {"packed": True}), *once, *once]
    assert engine.options["weight_transfer_config"] == "ipc"


@pytest.mark.parametrize("option", ["share_contexts", "drafts"])
def test_options_of_the_other_engine_are_refused(tasks, vllm, option):
    with pytest.raises(FitnessError, match=f"{option} is for the transformers engine"):
        LmEval("sorted", include_path=tasks, engine="vllm", **{option: True})


def test_what_is_sent_is_what_a_checkpoint_has(merges, tmp_path, vllm):
    mixture = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=11,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            num_local_experts=3,
        )
    )
    mixture.save_pretrained(tmp_path / "mixture")
    for module, folder in (
        (merges[0].module, merges[0].folder),
        (mixture, tmp_path / "mixture"),
    ):
        weights = vllm.CheckpointWeights()
        weights.module = module
        stored = load_file(folder / "model.safetensors")
        sent = dict(weights)
        assert sent.keys() == stored.keys()
        assert all(torch.equal(sent[name], stored[name]) for name in stored)


def test_what_an_engine_cannot_do_is_refused(merges, tasks, vllm, monkeypatch):
    fitness = LmEval("continued", "acc", include_path=tasks, engine="vllm")
    items = fitness.list_items(ALL)
    with pytest.raises(FitnessError, match="they are on 'cpu'; set workers"):
        merges[0].scored(fitness, items)
    say_on_gpu(merges[0].module, monkeypatch)
    merges[0].scored(fitness, items)
    deeper = AutoModelForCausalLM.from_pretrained(merges[0].folder)
    say_on_gpu(deeper, monkeypatch)
    deeper.config.num_hidden_layers += 1
    with pytest.raises(FitnessError, match="cannot score layer paths; remove the engine"):
        fitness._view.model.load(deeper)
    with pytest.raises(FitnessError, match="engine_args: 'tokenizer' is set by evomerge"):
        vllm.VllmLM(merges[0].folder, chat_template=None, tokenizer="other")


def test_without_the_extra():
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[vllm\]'"):
        LmEval("gsm8k", engine="vllm")
