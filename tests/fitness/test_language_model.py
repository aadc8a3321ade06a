"""A model of a fitness's own, such as a judge: what transformers loads, asked as a merge is."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge import zoo
from evomerge.errors import CheckpointError
from evomerge.fitness import LanguageModel, MergedModel

from .tiny import merged_model

FLIP = zoo.path() / "models" / "flip"


def test_a_loaded_model_scores_as_transformers_does():
    judge = LanguageModel.load(FLIP)
    module = AutoModelForCausalLM.from_pretrained(FLIP).eval()
    tokenizer = AutoTokenizer.from_pretrained(FLIP)
    context = tokenizer("flip odor:")["input_ids"]
    whole = torch.tensor([tokenizer("flip odor:rodo")["input_ids"]])
    with torch.no_grad():
        by_token = module(whole).logits[0].float().log_softmax(-1)
    wanted = sum(float(by_token[i - 1, whole[0, i]]) for i in range(len(context), whole.shape[1]))
    assert judge.loglikelihood([("flip odor:", "rodo")]) == pytest.approx([wanted], rel=1e-5)


def test_a_merged_model_answers_by_the_same_methods():
    judge = LanguageModel.load(FLIP)
    merged = merged_model(judge.module, judge.tokenizer)
    assert isinstance(merged, MergedModel)
    prompts = ["flip odor:", "flip sledge:"]
    assert judge.generate(prompts) == merged.generate(prompts)


def test_what_is_no_language_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be loaded") as refused:
        LanguageModel.load(tmp_path)
    assert "\n" not in str(refused.value)
