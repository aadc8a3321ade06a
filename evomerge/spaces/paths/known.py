"""Layer paths worth knowing: models that people stack by hand."""

from __future__ import annotations

from collections.abc import Iterator

from evomerge.spaces.paths.pool import Pool, Steps


def known_paths(pool: Pool) -> Iterator[tuple[str, Steps]]:
    """Yield names and paths, the first donor, here a, alone first and under its name.

    - 'depth_up:a': a without its last quarter, then a without its first (SOLAR 10.7B, Kim et al.
      2023, arXiv 2312.15166).

    And for each other donor b:

    - 'layers:b': all layers of b, between the embeddings and the head of a.
    - 'body:a+b': b between the end layers of a.
    - 'layer_swap:a+b': the middle half of b between the outer quarters of a (Bandarkar et al.
      2024, arXiv 2410.01335).
    - 'frankenmerge:a+b': the middle half of b between the two halves of a, as in the stacks of
      overlapping blocks that mergekit's passthrough is used for.

    A donor with fewer than four layers has no quarters; its paths are left out.
    """
    a, depth = pool.own, pool.depths[0]
    yield pool.names[0], a
    others = {
        donor: tuple(step for step in pool.layers if step[0] == donor)
        for donor in range(1, len(pool.names))
    }
    for donor, b in others.items():
        yield f"layers:{pool.names[donor]}", b
    quarter, half = depth // 4, depth // 2
    if not quarter:
        return
    yield f"depth_up:{pool.names[0]}", a[: depth - quarter] + a[quarter:]
    for donor, b in others.items():
        cut = len(b) // 4
        if cut:
            name, middle = f"{pool.names[0]}+{pool.names[donor]}", b[cut : len(b) - cut]
            yield f"body:{name}", a[:1] + b[1:-1] + a[-1:]
            yield f"layer_swap:{name}", a[:quarter] + middle + a[depth - quarter :]
            yield f"frankenmerge:{name}", a[:half] + middle + a[half:]
