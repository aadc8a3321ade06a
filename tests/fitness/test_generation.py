"""Greedy decoding against transformers' own, one prompt at a time."""

import pytest
import torch
from transformers import (
    Lfm2Config,
    Lfm2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from evomerge.errors import DataError, FitnessError
from evomerge.fitness.batches import cache_keyword

from .tiny import character_tokenizer, merged_model, tiny_module

PROMPTS = [
    "1+1=",
    "what is 22 * 3?",
    "a",
    "12-7=",
    "Say: ",
    "b",
    "zzzzzz",
    "9 9 9 9 9 9 9 9",
    "1+1=",
]


SHARED = [
    *("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "hidden_size"),
    *("intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
]


def transformers_answer(module, tokenizer, prompt, max_new_tokens):
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    out = module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        max_length=None,
    )
    new = out[0, ids.shape[1] :].tolist()
    ends = set(module.generation_config.eos_token_id)
    if new and new[-1] in ends:
        new.pop()
    return tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize(("bos", "pad"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_equals_transformers_greedy(module, bos, pad, batch_size):
    tokenizer = character_tokenizer(bos=bos, pad=pad)
    expected = [transformers_answer(module, tokenizer, prompt, 12) for prompt in PROMPTS]
    answers = merged_model(module, tokenizer).generate(
        PROMPTS, max_new_tokens=12, batch_size=batch_size
    )
    assert answers == expected
    # The truth would prove little if all rows ended alike.
    assert len({len(answer) for answer in answers}) > 1


def test_sliding_window_keeps_its_own_cache(tokenizer):
    reference = tiny_module("qwen2")
    config = Qwen2Config(
        **{**reference.config.to_dict(), "use_sliding_window": True, "sliding_window": 4}
        | {"max_window_layers": 1, "layer_types": ["full_attention", "sliding_attention"]}
    )
    module = Qwen2ForCausalLM(config).to(torch.float64).eval()
    module.load_state_dict(reference.state_dict())
    module.generation_config = reference.generation_config
    expected = [transformers_answer(module, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert merged_model(module, tokenizer).generate(PROMPTS, max_new_tokens=12) == expected
    assert merged_model(reference, tokenizer).generate(PROMPTS, max_new_tokens=12) != expected


def test_a_state_beside_the_cache_follows_its_row(tokenizer):
    reference = tiny_module("llama")
    config = Lfm2Config(
        **{name: getattr(reference.config, name) for name in SHARED},
        layer_types=["conv", "full_attention"],
    )
    module = Lfm2ForCausalLM(config).to(torch.float64).eval()
    weights = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4, generator=weights)
    module.generation_config = reference.generation_config
    expected = [transformers_answer(module, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert merged_model(module, tokenizer).generate(PROMPTS, max_new_tokens=12) == expected
    assert len({len(answer) for answer in expected}) > 1


def test_answers_follow_their_prompts(module, tokenizer):
    model = merged_model(module, tokenizer)
    forward = model.generate(PROMPTS, batch_size=3)
    backward = model.generate(PROMPTS[::-1], batch_size=5)
    assert backward[::-1] == forward


def test_fp32_llama_equals_transformers(tokenizer):
    module = tiny_module("llama", dtype=torch.float32)
    expected = [transformers_answer(module, tokenizer, prompt, 8) for prompt in PROMPTS]
    assert merged_model(module, tokenizer).generate(PROMPTS, max_new_tokens=8) == expected


def test_tokenizers_end_of_text_ends_too(llama, tokenizer):
    model = merged_model(llama, tokenizer)
    answer = max(model.generate(PROMPTS), key=len)
    prompt = PROMPTS[model.generate(PROMPTS).index(answer)]
    end = answer[2]
    chatty = character_tokenizer()
    chatty.eos_token = end
    assert merged_model(llama, chatty).generate([prompt]) == [answer[: answer.index(end)]]


def test_stop_text_cuts_and_ends_the_answer(llama, tokenizer):
    calls = []
    hook = llama.register_forward_hook(lambda *_: calls.append(1))
    model = merged_model(llama, tokenizer)
    whole = max(model.generate(PROMPTS), key=len)
    prompt = PROMPTS[model.generate(PROMPTS).index(whole)]
    stop = whole[2:4]
    calls.clear()
    answer = model.generate([prompt], stop=["never there", stop])
    hook.remove()
    assert answer == [whole[: whole.index(stop)]]
    assert len(calls) == whole.index(stop) + len(stop) < len(whole)


def test_rows_that_ended_leave_the_batch(llama, tokenizer):
    widths = []
    hook = llama.register_forward_hook(
        lambda _, __, kwargs, ___: widths.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    answers = merged_model(llama, tokenizer).generate(PROMPTS, max_new_tokens=20)
    hook.remove()
    assert widths[0] == len(PROMPTS)
    assert widths[-1] < len(PROMPTS)
    assert len(widths) == min(20, max(len(answer) for answer in answers) + 1)


def test_prompts_are_tokenized_once_per_tokenizer(llama, monkeypatch):
    tokenizer = character_tokenizer()
    merged_model(llama, tokenizer).generate(PROMPTS, max_new_tokens=1)
    monkeypatch.setattr(type(tokenizer), "__call__", None)
    merged_model(llama, tokenizer).generate(PROMPTS[::-1], max_new_tokens=1)
    with pytest.raises(TypeError):
        merged_model(llama, tokenizer).generate(["a new one"], max_new_tokens=1)


def test_chat_wraps_prompts_and_leaves_special_tokens_to_the_template(llama):
    tokenizer = character_tokenizer()
    tokenizer.chat_template = (
        "<bos>{% for m in messages %}{{ m['content'] }}:{% endfor %}"
        "{% if add_generation_prompt %}= {% endif %}"
    )
    model = merged_model(llama, tokenizer)
    assert model.chat(["1+1"]) == ["<bos>1+1:= "]
    assert model.encode(model.chat(["1+1"]), special_tokens=False) == model.encode(["1+1:= "])


def test_no_chat_template_is_said(llama, tokenizer):
    with pytest.raises(FitnessError, match="no chat template"):
        merged_model(llama, tokenizer).chat(["1+1"])


def test_no_prompts_no_answers(llama, tokenizer):
    assert merged_model(llama, tokenizer).generate([]) == []


def test_refuses_a_prompt_without_tokens(llama):
    model = merged_model(llama, character_tokenizer(bos=False))
    with pytest.raises(DataError, match="prompt 1 of 2 has no tokens"):
        model.generate(["a", ""])


def test_refuses_what_does_not_fit_the_positions(module, tokenizer):
    model = merged_model(module, tokenizer)
    assert len(model.generate(["a" * 55], max_new_tokens=8)) == 1
    with pytest.raises(DataError, match=r"takes 65 tokens and the model has 64 positions"):
        model.generate(["a" * 56], max_new_tokens=8)


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"batch_size": 0}, {"stop": [""]}])
def test_refuses_meaningless_options(llama, tokenizer, wrong):
    with pytest.raises(FitnessError):
        merged_model(llama, tokenizer).generate(["a"], **wrong)


def test_a_model_without_cache_is_said(llama, tokenizer):
    def drop_cache(_, __, output):
        setattr(output, cache_keyword(llama), None)
        return output

    hook = llama.register_forward_hook(drop_cache)
    with pytest.raises(FitnessError, match="LlamaForCausalLM keeps no KV cache"):
        merged_model(llama, tokenizer).generate(["a"])
    hook.remove()


def test_a_state_space_model_is_said_to_keep_no_cache(tokenizer):
    module = MambaForCausalLM(
        MambaConfig(vocab_size=len(tokenizer), hidden_size=8, state_size=4, num_hidden_layers=1)
    )
    with pytest.raises(FitnessError, match="MambaForCausalLM keeps no KV cache"):
        merged_model(module.eval(), tokenizer).generate(["a"])
