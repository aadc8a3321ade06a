"""Pictures: something is drawn, everything is named, nothing global changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from evomerge.report import save_png
from evomerge.report.parallel import spread_out
from evomerge.report.roles import ROLES
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row


def has_colour(image: np.ndarray, colour: str) -> bool:
    return bool((np.abs(image[:, :, :3] - to_rgb(colour)).max(axis=2) < 0.02).any())


def test_png_shows_members_donors_and_base(any_front, tmp_path):
    before = dict(mpl.rcParams)
    save_png(any_front, tmp_path / "front.png")
    image = imread(tmp_path / "front.png")
    assert image.shape[1] == 1500
    assert 0.01 < (image[:, :, :3].min(axis=2) < 0.95).mean() < 0.5
    for role in ("front", "donor", "base"):
        assert has_colour(image, ROLES[role].colour), role
    assert dict(mpl.rcParams) == before


def test_roles_differ_for_readers_without_colour():
    assert len({role.marker for role in ROLES.values()}) == len(ROLES)
    assert len({role.symbol for role in ROLES.values()}) == len(ROLES)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
def test_sparse_fronts_are_drawn(n_objectives, tmp_path):
    names = [f"cost ${n}$" for n in range(n_objectives)]
    objectives = tuple(Objective(name, "minimize") for name in names)
    rows = [
        make_row("trial 1", dict.fromkeys(names, 2.0), dict.fromkeys(names, 3.0)),
        make_row("base $x$", dict.fromkeys(names, 2.0)),
    ]
    save_png(make_front(*rows, objectives=objectives), tmp_path / "sparse.png")
    assert has_colour(imread(tmp_path / "sparse.png"), ROLES["front"].colour)
    save_png(make_front(objectives=objectives), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_large_fronts_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    angles = np.sort(rng.random(60)) * np.pi / 2
    rows = [
        make_row(f"trial {n}", {"a": float(np.cos(angle)), "b": float(np.sin(angle))})
        for n, angle in enumerate(angles)
    ]
    save_png(make_front(*rows), tmp_path / "large.png")
    assert has_colour(imread(tmp_path / "large.png"), ROLES["front"].colour)


def test_search_only_fronts_are_drawn(tmp_path):
    front = replace(build_front(2, 30, holdout=False), hypervolume=())
    save_png(front, tmp_path / "front.png")
    assert has_colour(imread(tmp_path / "front.png"), ROLES["front"].colour)


@given(st.lists(st.floats(-1, 1), max_size=8).map(sorted))
def test_spread_out_labels_keep_order_distance_and_centre(heights):
    shown = spread_out(heights, 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(shown))
    assert sum(shown) == pytest.approx(sum(heights), abs=1e-9)
    if all(b - a >= 0.1 for a, b in pairwise(heights)):
        assert shown == pytest.approx(heights, abs=1e-9)
