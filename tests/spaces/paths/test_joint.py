"""Merges inside paths: both searched at once, or coefficients through a fixed path."""

from dataclasses import replace

import pytest

from evomerge.errors import SpaceError
from evomerge.recipe import (
    ModelRef,
    ParameterCounts,
    Recipe,
    Slice,
    Source,
    fingerprint,
    native,
)
from evomerge.spaces import SpaceContext, ThroughPath, declaration, load_space
from evomerge.spaces.paths import through
from tests.recipe.layouts import llama
from tests.spaces.models import context, decoders

MERGE = {"merge_method": "task_arithmetic", "genes": {"weight": {"range": [0, 1.5]}}}
LAYERS = {"path": "depthwise", "fixed_ends": False}


def joint(n_layers=3, n_donors=2, models=None, **fields):
    content = {"merge": MERGE, "layers": LAYERS, **fields}
    return load_space(content, models or decoders(n_layers, n_donors))


def test_a_joint_recipe_is_the_path_through_its_merge():
    models = decoders(3)
    space = joint()
    names = [gene.name for gene in space.domain.genes]
    assert names[:3] == ["merge.weight[math]", "merge.weight[code]", "layers.layer[0]"]
    assert space.domain.genes[2].choices == ("merged:0", "math:0", "code:0", "skip")
    recipe = space.decode((0.25, 0.75, "merged:0", "code:1", "merged:2", 0.9, 1.1))
    merged, code = (source.model for source in recipe.models)
    assert merged == load_space(MERGE, models).decode((0.25, 0.75))
    assert code == models.donors["code"]
    assert [(h.model, h.layer, h.scale) for h in recipe.path.hops] == [
        (0, 0, 1.0),
        (1, 1, 0.9),
        (0, 2, 1.1),
    ]
    assert native.loads(native.dumps(recipe)) == recipe
    # a scale without a layer changes nothing, a coefficient does
    one, two, three = (
        fingerprint(space.decode((w, 0.75, "merged:0", "skip", "merged:2", s, 1.1)))
        for w, s in ((0.25, 0.9), (0.25, 1.2), (0.5, 0.9))
    )
    assert one == two != three


def test_joint_domain():
    domain = joint(8).domain
    assert domain.initial[:2] == (0.75, 0.75)
    assert domain.initial[2:10] == tuple(f"merged:{i}" for i in range(8))
    assert domain.genes[10].condition.gene == 3
    assert domain.genes[10].condition.values == ("merged:1", "math:1", "code:1")
    alone = domain.initial[2:]
    seeds = {seed.name: seed.genotype for seed in domain.seeds}
    assert list(seeds)[:4] == ["base", "math", "code", "uniform"]
    assert seeds["math"] == (1.0, 0.0, *alone)
    assert seeds["uniform"] == (0.5, 0.5, *alone)
    assert "layer_swap:merged+math" in seeds
    assert all(genotype[:2] == (0.75, 0.75) for genotype in list(seeds.values())[4:])


def test_joint_sequences():
    layers = {"path": "sequence", "limits": {"max_hops": 4}}
    space = joint(layers=layers)
    sequence = space.domain.sequence
    assert sequence.elements == (2, 3)  # between the ends
    assert sequence.attributes == ((4,), (5,))
    assert [space.domain.genes[i].name for i in (3, 5)] == ["layers.hop[1]", "layers.scale[1]"]
    assert space.domain.genes[5].condition.gene == 3
    assert {space.domain.genes[i].empty for i in sequence.elements} == {"-"}


def test_donors_beside_the_merge():
    space = joint(donors=["code"])
    assert space.domain.genes[2].choices == ("merged:0", "code:0", "skip")
    space = joint(donors=[])
    assert space.domain.genes[2].choices == ("merged:0", "skip")
    assert declaration(space)["donors"] == []
    assert declaration(joint())["layers"] == LAYERS
    random = joint(layers={**LAYERS, "start": {"at": "random"}})
    assert random.domain.seeds == ()


def test_joint_needs_models_of_one_depth_and_the_name():
    with pytest.raises(SpaceError, match=r"merge\.merge_method: donor 'code' has 5 layers"):
        joint(models=decoders(3, depths={"code": 5}))
    models = decoders(3)
    taken = SpaceContext(models.base, {"merged": ModelRef(path="m")}, models.layout)
    with pytest.raises(SpaceError, match="layers: a donor is called 'merged' already"):
        joint(models=taken)


def test_through_a_path():
    models = decoders(3)
    paths = load_space({**LAYERS, "path": "depthwise"}, models)
    fixed = paths.decode(("math:0", "code:1", "math:2", 0.9, 1.1))
    space = ThroughPath(load_space(MERGE, models), fixed)
    assert [gene.name for gene in space.domain.genes] == ["weight[math]", "weight[code]"]
    assert [seed.name for seed in space.domain.seeds][:2] == ["path:base", "path:math"]
    recipe = space.decode((0.25, 0.75))
    assert recipe.models[0].model == load_space(MERGE, models).decode((0.25, 0.75))
    assert recipe.models[1:] == fixed.models[1:]
    assert (recipe.path, recipe.dtype, recipe.seed) == (fixed.path, fixed.dtype, fixed.seed)
    assert native.loads(native.dumps(recipe)) == recipe
    assert declaration(space) == declaration(load_space(MERGE, models))
    plain = Recipe(merge_method="passthrough", models=(Source(model=models.base),))
    with pytest.raises(SpaceError, match="a recipe that has a path"):
        ThroughPath(load_space(MERGE, models), plain)
    with pytest.raises(ValueError, match="the recipe has no path"):
        through(plain, models.base)


def test_a_path_through_a_recipe():
    models = decoders(4)
    merged = load_space(MERGE, models).decode((0.25, 0.75))
    stacked = load_space("layer_sequence", models).decode
    up = stacked(load_space("layer_sequence", models).domain.seeds[1].genotype)
    assert len(up.path.hops) == 6
    staged = SpaceContext(
        models.base, {"merged": merged, "up": up}, models.layout, depths={"up": 6}
    )
    space = load_space({"path": "slots", "repeats": 1}, staged)
    assert len(space.domain) == 2 * (4 + 6) - 3  # the ends are fixed, the last has a scale
    recipe = space.decode(tuple(["on"] * 8 + [1.0] * 9))
    assert [source.model for source in recipe.models] == [merged, up]
    assert native.loads(native.dumps(recipe)) == recipe


def test_what_nodes_store():
    models = decoders(3)
    math, code = models.donors.values()
    one, other = ParameterCounts((1, 2, 3), 50), ParameterCounts((10, 20, 30), 90)
    models = replace(models, parameters={math: one, code: other})
    merged = load_space(MERGE, models).decode((0.25, 0.75))
    path = load_space({**LAYERS, "scales": "none"}, models).decode(("code:0", "math:1", "code:2"))
    twice = through(path, path)
    # the base of a merge is not known, and neither is what is made of it
    assert models.counts(merged) is None
    assert models.counts(through(path, merged)) is None
    models = replace(models, parameters={**models.parameters, models.base: one})
    assert models.counts(merged) == one
    assert models.counts(path) == ParameterCounts((10, 2, 30), 50)
    assert models.counts(twice) == ParameterCounts((10, 2, 30), 50)
    sliced = Recipe(
        merge_method="passthrough",
        slices=(
            Slice(sources=(Source(model=code, layer_range=(1, 3)),)),
            Slice(sources=(Source(model=math, layer_range=(0, 1)),)),
        ),
    )
    assert models.counts(sliced) == ParameterCounts((20, 30, 1), 90)
    limited = {**LAYERS, "limits": {"max_parameters": 140}}
    space = joint(models=models, layers=limited)
    everything = tuple("code:" + str(i) for i in range(3))
    point = (*space.domain.initial[:2], *everything, *space.domain.initial[5:])
    # 'merged' lends 50; 10 + 20 + 30 fit into the rest
    assert len(space.decode(point).path.hops) == 3
    tight = joint(models=models, layers={**LAYERS, "limits": {"max_parameters": 109}})
    assert [hop.layer for hop in tight.decode(point).path.hops] == [0, 1]


def test_a_merge_needs_no_known_blocks():
    assert len(load_space(MERGE, context(llama(3))).domain) == 2
