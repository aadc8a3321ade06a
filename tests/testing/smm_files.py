"""Files as SMM-Bench's are, of ensembles trained here."""

import numpy as np

NAMES = {"train": "train_acc_ja_best_model.json", "test": "test_acc_ja_best_model.json"}


def rows(kind: str, count: int, seed: int):
    generator = np.random.default_rng(seed)
    if kind == "ps":
        return generator.random((count, 64))
    choices = generator.integers(3, size=(count, 32))
    return np.hstack([choices, generator.uniform(0.4, 1.5, (count, 63))])


def save(path, kind: str, seed: int, level: float = 0.5):
    """Fit three boosters to a wave over the first features, and save them together."""
    import lightgbm  # noqa: PLC0415  # an extra

    ensemble = lightgbm.CVBooster()
    for fold in range(3):
        x = rows(kind, 200, seed + fold)
        y = level + 0.3 * np.sin(3 * x[:, 0]) + 0.2 * x[:, -1]
        options = {"num_leaves": 7, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
        ensemble.boosters.append(lightgbm.train(options, lightgbm.Dataset(x, y), 10))
    ensemble.save_model(path)
    return ensemble
