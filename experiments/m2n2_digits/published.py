"""The published code, from a checkout of github.com/SakanaAI/natural_niches that the user names.

None of it is shipped here. As shipped its loop runs step by step, its selection outside `jax.jit`,
with the best model tested after every step. `Jitted` is one search as one compiled loop around the
same functions, with that test or without.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from digits import Floats

_ARCHIVE = 20


@dataclass(frozen=True)
class Published:
    """Modules of the published code.

    Attributes:
        niches: `natural_niches_fn`.
        model: `model`.
        helper: `helper_fn`.
        data: `data`.
    """

    niches: ModuleType
    model: ModuleType
    helper: ModuleType
    data: ModuleType


def load_published(checkout: Path) -> Published:
    """Import the modules of a checkout."""
    if not (checkout / "natural_niches_fn.py").exists():
        raise SystemExit(
            f"--published {checkout}: no natural_niches_fn.py there; clone "
            "https://github.com/SakanaAI/natural_niches and name its folder"
        )
    sys.path.insert(0, str(checkout))
    try:
        names = ("natural_niches_fn", "model", "helper_fn", "data")
        return Published(*(importlib.import_module(name) for name in names))
    finally:
        sys.path.remove(str(checkout))


def as_shipped(code: Published, evaluations: int, *, scratch: bool) -> list[float]:
    """Run the published search once; returns its test accuracies step by step."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        (result,) = code.niches.run_natural_niches(
            runs=1,
            pop_size=_ARCHIVE,
            total_forward_passes=evaluations,
            store_train_results=False,
            no_matchmaker=False,
            no_crossover=False,
            no_splitpoint=False,
            use_pre_trained=not scratch,
        )
    return [float(accuracy) for accuracy in result["test_values"]]


class Jitted:
    """The published search as one compiled loop.

    Args:
        code: the published modules.
        scratch: with mutation.
        testing: test the archive's best model after every step, as the published loop does.
        alpha: 0 for the genetic algorithm.
        matchmaker: draw the second parent by attraction.
        split: cut at a split point.
    """

    def __init__(
        self,
        code: Published,
        *,
        scratch: bool,
        testing: bool = False,
        alpha: float = 1.0,
        matchmaker: bool = True,
        split: bool = True,
    ) -> None:
        self._code = code
        (x_train, y_train), (x_test, y_test) = code.data.load_data()
        self._train = jnp.asarray(x_train, jnp.float32), jnp.asarray(y_train)
        self._test = jnp.asarray(x_test, jnp.float32), jnp.asarray(y_test)
        self._scratch = scratch
        self._testing = testing
        self._alpha = alpha
        self._matchmaker = matchmaker
        self._cross = code.helper.crossover if split else code.helper.crossover_without_splitpoint
        self._loop = jax.jit(self._steps, static_argnames="n")

    def run(
        self, seed: int, evaluations: int, founders: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """Search; returns the archive's best model on the training images, and the best ever.

        Args:
            seed: of the run.
            evaluations: beside those of the founders.
            founders: in storage order.
        """
        one, other = map(jnp.asarray, founders)
        key = jax.random.PRNGKey(42 + seed)
        archive = jnp.zeros((_ARCHIVE, one.size))
        scores = jnp.zeros((_ARCHIVE, len(self._train[1])), dtype=bool)
        best = (one, jnp.float32(-1))
        for model in (one, other):
            archive, scores, best = self._enter(model, archive, scores, best)
        archive, scores, best, tested = self._loop(key, archive, scores, best, n=evaluations)
        jax.block_until_ready(tested)
        leader = archive[jnp.argmax(scores.mean(axis=1))]
        return np.asarray(leader), np.asarray(best[0])

    def _steps(self, key: Any, archive: Any, scores: Any, best: Any, n: int) -> Any:
        def step(carry: Any, _: None) -> tuple[Any, Any]:
            key, archive, scores, best = carry
            k1, k2, k3, key = jax.random.split(key, 4)
            parents = self._code.niches.sample_parents(
                archive, scores, k1, self._alpha, self._matchmaker
            )
            child = self._cross(parents, k2)
            if self._scratch:
                child = self._code.helper.mutate(child, k3)
            archive, scores, best = self._enter(child, archive, scores, best)
            tested = self._tested(archive, scores) if self._testing else None
            return (key, archive, scores, best), tested

        carry, tested = jax.lax.scan(step, (key, archive, scores, best), None, length=n)
        return (*carry[1:], tested)

    def _tested(self, archive: Any, scores: Any) -> Any:
        images, labels = self._test
        leader = archive[jnp.argmax(scores.mean(axis=1))]
        return self._code.model.get_acc(self._code.model.mlp(leader, images), labels)

    def _enter(self, model: Any, archive: Any, scores: Any, best: Any) -> tuple[Any, Any, Any]:
        images, labels = self._train
        solved = jnp.argmax(self._code.model.mlp(model, images), axis=1) == labels
        archive, scores = self._code.niches.update_archive(
            solved, model, archive, scores, self._alpha
        )
        accuracy = solved.mean(dtype=jnp.float32)
        better = accuracy > best[1]
        weights = jnp.where(better, model, best[0])
        return archive, scores, (weights, jnp.maximum(accuracy, best[1]))
