from math import exp

from evomerge import zoo
from evomerge.fitness import FitnessResult, LanguageModel


class Judged:
    """Mean probability with which a judge would have given the merged model's answers itself."""

    def __init__(self, judge: str):  # once per worker
        self.judge = LanguageModel.load(zoo.path() / "models" / judge)
        self.end = self.judge.tokenizer.eos_token

    def __call__(self, model):  # once per candidate
        prompts = [item["prompt"] for item in model.items]
        answers = [text + self.end for text in model.generate(prompts, max_new_tokens=16)]
        totals = self.judge.loglikelihood(list(zip(prompts, answers, strict=True)))
        scores = dict(zip(model.item_ids, map(exp, totals), strict=True))
        return FitnessResult({"judged": sum(scores.values()) / len(scores)}, scores)
