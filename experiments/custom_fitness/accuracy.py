import torch

from evomerge.fitness import FitnessResult


def accuracy(model):
    """Share of images whose own class gets the highest logit."""
    pixels = torch.tensor([item["pixels"] for item in model.items])
    with torch.inference_mode():
        logits = model.module(pixel_values=pixels.to(model.device, model.module.dtype)).logits
    predicted = logits.argmax(-1).tolist()
    right = {
        item["id"]: float(item["label"] == label)
        for item, label in zip(model.items, predicted, strict=True)
    }
    return FitnessResult({"accuracy": sum(right.values()) / len(right)}, right)
