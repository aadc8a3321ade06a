"""Log-likelihoods against log-softmax written out, one unpadded row at a time."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from evomerge.errors import DataError, FitnessError
from evomerge.fitness.encoding import encode_pair

from .tiny import character_tokenizer, merged_model

PAIRS = [
    ("1+1=", "2"),
    ("what is it? ", "a long answer"),
    ("", "no prompt"),
    ("a", ""),
    ("zz", "z"),
]


def by_hand(module, context, continuation):
    """Sum of log(exp z_y / Σ exp z) over the continuation."""
    ids = [*context, *continuation]
    with torch.no_grad():
        logits = module(torch.tensor([ids])).logits[0].double().numpy()
    total = 0.0
    for place in range(len(context), len(ids)):
        z = logits[place - 1]
        total += float(np.log(np.exp(z[ids[place]] - z.max()) / np.exp(z - z.max()).sum()))
    return total


def characters(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_equals_log_softmax_by_hand(module, tokenizer, batch_size):
    model = merged_model(module, tokenizer)
    scores = model.loglikelihood_tokens(PAIRS, batch_size=batch_size)
    for (prompt, continuation), score in zip(PAIRS, scores, strict=True):
        rest = characters(tokenizer, continuation)
        truth = by_hand(module, [1, *characters(tokenizer, prompt)], rest)
        assert score.total == pytest.approx(truth, abs=1e-10)
        assert score.tokens == len(rest)
    assert model.loglikelihood(PAIRS) == pytest.approx([score.total for score in scores])


def test_order_does_not_matter(module, tokenizer):
    model = merged_model(module, tokenizer)
    backward = model.loglikelihood(PAIRS[::-1], batch_size=2)
    assert backward[::-1] == pytest.approx(model.loglikelihood(PAIRS), abs=1e-10)


def test_without_beginning_of_text_the_end_token_is_the_context(llama):
    tokenizer = character_tokenizer(bos=False)
    (score,) = merged_model(llama, tokenizer).loglikelihood_tokens([("", "ab")])
    truth = by_hand(llama, [2], characters(tokenizer, "ab"))
    assert score.total == pytest.approx(truth, abs=1e-10)


def test_with_neither_the_first_token_is_context(llama):
    tokenizer = character_tokenizer(bos=False)
    tokenizer.eos_token = None
    model = merged_model(llama, tokenizer)
    ids = characters(tokenizer, "abc")
    (score,) = model.loglikelihood_tokens([("", "abc")])
    assert (score.tokens, score.total) == (2, pytest.approx(by_hand(llama, ids[:1], ids[1:])))
    with pytest.raises(DataError, match="text 1 of 2 has no token to predict"):
        model.nll(["abc", "a"])


def test_a_token_across_the_seam_is_scored():
    vocabulary = {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4}
    bpe = Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>")
    assert encode_pair(tokenizer, "ca", "b") == ((3,), (4,))
    assert encode_pair(tokenizer, "c", "ab") == ((3,), (4,))
    assert encode_pair(tokenizer, "a", "b") == ((0,), (4,))


def test_nll_is_per_token(module, tokenizer):
    texts = ["1+1=2", "abc", "x"]
    for text, value in zip(texts, merged_model(module, tokenizer).nll(texts), strict=True):
        ids = characters(tokenizer, text)
        assert value == pytest.approx(-by_hand(module, [1], ids) / len(ids), abs=1e-10)


def test_half_precision_logits_are_normalised_in_fp32(llama, tokenizer):
    hook = llama.register_forward_hook(
        lambda _, __, out: out.__setitem__("logits", out["logits"].half())
    )
    model = merged_model(llama, tokenizer)
    (score,) = model.loglikelihood([("1+1=", "2abcdefgh")])
    hook.remove()
    ids = [1, *characters(tokenizer, "1+1=2abcdefgh")]
    z = llama(torch.tensor([ids])).logits[0].half().double()
    truth = z.log_softmax(-1)[range(4, 13), ids[5:]].sum().item()
    assert score == pytest.approx(truth, rel=1e-5)


def test_choices_of_one_token_share_a_row(llama, tokenizer):
    pairs = [("1+1=", "2"), ("1+1=", "3"), ("1+1", "=4"), ("1+1=", "25"), ("xy", "z")]
    widths = []
    hook = llama.register_forward_hook(
        lambda _, __, kwargs, ___: widths.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    scores = merged_model(llama, tokenizer).loglikelihood(pairs)
    hook.remove()
    assert widths == [3]
    for (prompt, continuation), score in zip(pairs, scores, strict=True):
        context = [1, *characters(tokenizer, prompt)]
        truth = by_hand(llama, context, characters(tokenizer, continuation))
        assert score == pytest.approx(truth, abs=1e-10)


def test_logits_that_would_not_fit_make_smaller_batches(llama, tokenizer, monkeypatch):
    widths = []
    hook = llama.register_forward_hook(
        lambda _, __, kwargs, ___: widths.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    monkeypatch.setattr("evomerge.fitness.likelihood._LOGITS", 2 * 4 * llama.config.vocab_size)
    model = merged_model(llama, tokenizer)
    model.loglikelihood([(prompt, "bcde") for prompt in "vwxyz"])
    hook.remove()
    assert widths == [2, 2, 1]


def test_refuses_what_does_not_fit_the_positions(module, tokenizer):
    with pytest.raises(DataError, match="65 tokens and the model has 64 positions"):
        merged_model(module, tokenizer).loglikelihood([("a" * 60, "bbbbb")])


def test_refuses_an_empty_batch_size(llama, tokenizer):
    with pytest.raises(FitnessError, match="batch_size"):
        merged_model(llama, tokenizer).loglikelihood([("a", "b")], batch_size=0)
