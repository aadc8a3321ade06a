from difflib import SequenceMatcher

from evomerge.fitness import FitnessResult


def closeness(model):
    """Mean similarity of answers and wanted answers: 1 where they are equal."""
    answers = model.generate([item["prompt"] for item in model.items], max_new_tokens=16)
    scores = {
        item["id"]: SequenceMatcher(None, answer, item["answer"]).ratio()
        for item, answer in zip(model.items, answers, strict=True)
    }
    return FitnessResult({"closeness": sum(scores.values()) / len(scores)}, scores)
