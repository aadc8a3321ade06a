"""How well a model answers: everything from one forward pass over prompts and right answers."""

from __future__ import annotations

from evomerge.fitness import FitnessResult, MergedModel, text_field


def answers(model: MergedModel) -> FitnessResult:
    """Score the right answers, each token given all that come before it.

    Items must be equally long in tokens, prompts and answers each, as those of the pair are.

    Returns:
        'surprise', the negative log-likelihood of an answer's token in nats, item by item; and
        'exact', the share of items whose greedy answer is right to the end, which is when every
        token is the likeliest after a right beginning.
    """
    import torch  # noqa: PLC0415 -- a study is checked without it

    prompts = [text_field(item, "prompt") for item in model.items]
    texts = [
        prompt + text_field(item, "answer")
        for prompt, item in zip(prompts, model.items, strict=True)
    ]
    start = len(model.encode(prompts)[0])
    ids = torch.tensor([[*tokens, model.tokenizer.eos_token_id] for tokens in model.encode(texts)])
    ids = ids.to(model.device)
    with torch.inference_mode():
        logits = model.module(input_ids=ids[:, :-1], use_cache=False).logits[:, start - 1 :]
    wanted = ids[:, start:]
    likely = logits.double().log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
    surprise = (-likely.mean(dim=1)).tolist()
    right = (logits.argmax(dim=-1) == wanted).all(dim=1).tolist()
    return FitnessResult(
        {"surprise": sum(surprise) / len(surprise), "exact": sum(right) / len(right)},
        {item["id"]: value for item, value in zip(model.items, surprise, strict=True)},
    )
