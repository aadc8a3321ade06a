"""Figures of genes, weights and layer paths hold what they are made from."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from evomerge.recipe import LayerPath
from evomerge.report.gene_page import (
    gene_axes,
    importance_drawings,
    missing_importance,
    parallel_genes,
)
from evomerge.report.gene_plots import draw_genes, draw_importance
from evomerge.report.genes import GeneTable
from evomerge.report.importance import gene_effects
from evomerge.report.layer_weights import LayerWeights
from evomerge.report.merge_page import path_drawing, weights_drawing
from evomerge.report.merge_plots import draw_path, draw_weights
from evomerge.report.palette import series
from evomerge.types import Objective

OBJECTIVES = (Objective("good"), Objective("bad", "minimize"))


def table_of(n):
    rng = np.random.default_rng(n)
    names = ("idle", "weight", "kind")
    genotypes = tuple(
        (float(a), float(b), str(c))
        for a, b, c in zip(rng.random(n), rng.random(n), rng.choice(["x", "y"], n), strict=True)
    )
    scores = np.array([[b, 2 - b + 0.1 * (c == "x")] for _, b, c in genotypes])
    effects = tuple(gene_effects(names, genotypes, column, 1) for column in scores.T)
    return GeneTable("", names, tuple(range(n)), genotypes, scores, effects)


def drawn(path):
    return 0.002 < (imread(path)[:, :, :3].min(axis=2) < 0.95).mean() < 0.9


def test_the_most_telling_gene_stands_first_and_better_is_up(tmp_path):
    table = table_of(60)
    titles, ticks, heights = gene_axes(table, OBJECTIVES)
    assert titles[0] == "weight"
    assert sorted(titles[:3]) == ["idle", "kind", "weight"]
    assert titles[3:] == ["good", "bad"]
    assert heights[:, 3].argmax() == table.scores[:, 0].argmax()
    assert heights[:, 4].argmax() == table.scores[:, 1].argmin()
    assert ticks[4] == f"{table.scores[:, 1].max():.3g} to {table.scores[:, 1].min():.3g}"
    assert (heights >= 0).all()
    assert (heights <= 1).all()
    good, bad = importance_drawings(table, OBJECTIVES)
    assert good.figure.data[0].y[0] == bad.figure.data[0].y[0] == "weight"
    assert missing_importance(table) == ""
    assert draw_importance(table, OBJECTIVES, tmp_path / "importance.png")
    draw_genes(table, OBJECTIVES, {3, 5}, tmp_path / "genes.png")
    assert drawn(tmp_path / "importance.png")
    assert drawn(tmp_path / "genes.png")


def test_members_of_the_front_can_be_clicked(tmp_path):
    figure = parallel_genes(table_of(40), OBJECTIVES, (7, 9)).figure
    assert [one.customdata[0][1] for one in figure.data[1:]] == ["trial 7", "trial 9"]
    assert figure.data[0].x.count(None) == 38


def test_too_few_trials_are_counted(tmp_path):
    table = table_of(12)
    assert importance_drawings(table, OBJECTIVES) == ()
    assert missing_importance(table).endswith("there are 12.")
    assert not draw_importance(table, OBJECTIVES, tmp_path / "importance.png")
    assert not (tmp_path / "importance.png").exists()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_heat_map_holds_the_weights_and_leaves_holes(sign, tmp_path):
    values = np.array([[np.nan, 0.5, 1.0], [0.25, np.nan, sign]])
    rows = (("math", "mlp"), ("math", "embedding, head"))
    weights = LayerWeights("weight", rows, ("in", "0", "out"), values)
    figure = weights_drawing({"trial 1": weights, "trial 2": weights}).figure
    assert figure.data[0].z == ((None, 0.5, 1.0), (0.25, None, sign)) or [
        list(row) for row in figure.data[0].z
    ] == [[None, 0.5, 1.0], [0.25, None, sign]]
    assert [one.visible for one in figure.data] == [True, False]
    assert len(figure.layout.updatemenus[0].buttons) == 2
    assert figure.data[0].zmin == (0.0 if sign > 0 else -1.0)
    draw_weights("trial 1", weights, tmp_path / "weights.png")
    assert drawn(tmp_path / "weights.png")


def test_a_path_is_drawn_hop_by_hop(tmp_path):
    hops = [[0, 0], [1, 1, 0.5], [1, 1, 1.25], [0, 2]]
    way = LayerPath.model_validate({"hops": hops})
    drawing = path_drawing({"trial 4": (way, ("a", "b"))})
    lanes, scales = drawing.figure.data
    assert list(lanes.y) == ["a", "b", "b", "a"]
    assert list(lanes.text) == ["0", "1", "1", "2"]
    assert [scales.base + value for value in scales.y] == [1.0, 0.5, 1.25, 1.0]
    assert drawing.says.endswith("a 0, b 1, b 1, a 2")
    other = LayerPath.model_validate({"hops": [[0, 3]]})
    figure = path_drawing({"trial 5": (other, ("b",)), "trial 4": (way, ("a", "b"))}).figure
    assert list(figure.layout.yaxis.categoryarray) == [
        "a",
        "b",
    ]  # from below, the first seen on top
    colours = {
        lane: colour
        for trace in (figure.data[0], figure.data[2])
        for lane, colour in zip(trace.y, trace.marker.color, strict=True)
    }
    assert [colours[name] for name in ("b", "a")] == [series(0), series(1)]
    assert figure.data[0].marker.color[0] == figure.data[2].marker.color[1]  # b, both times
    draw_path("trial 4", way, ("a", "b"), tmp_path / "path.png")
    assert drawn(tmp_path / "path.png")
