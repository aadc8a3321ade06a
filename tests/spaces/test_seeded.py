"""What one stage found as the start of another: weights brought from space to space."""

import numpy as np
import pytest

from evomerge.errors import SpaceError
from evomerge.recipe import Layout, ModelRef, Recipe
from evomerge.recipe.flat_layouts import TensorShapes, order_of
from evomerge.recipe.table import Table
from evomerge.spaces import SpaceContext, load_space, seeded
from evomerge.spaces.model_weights import weights_of
from evomerge.spaces.populations import (
    ChildSvdMutation,
    Descent,
    GaussianMutation,
    SeedSvdMutation,
)

HIDDEN, INNER, LAYERS, VOCABULARY = 4, 6, 3, 5
SHAPES = {
    "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
    "model.norm.weight": (HIDDEN,),
    "lm_head.weight": (VOCABULARY, HIDDEN),
}
for _layer in range(LAYERS):
    _at = f"model.layers.{_layer}."
    SHAPES |= {
        **{f"{_at}self_attn.{one}_proj.weight": (HIDDEN, HIDDEN) for one in "qkvo"},
        f"{_at}mlp.gate_proj.weight": (INNER, HIDDEN),
        f"{_at}mlp.up_proj.weight": (INNER, HIDDEN),
        f"{_at}mlp.down_proj.weight": (HIDDEN, INNER),
        f"{_at}input_layernorm.weight": (HIDDEN,),
    }
SHAPE = TensorShapes(Layout.of(SHAPES, "llama"), SHAPES, kv_heads=2, heads=2)
BASE = ModelRef(path="/base", sha256="0" * 64)
DONORS = {
    name: ModelRef(path=f"/{name}", sha256=digit * 64)
    for name, digit in zip("abc", "123", strict=True)
}
CONTEXT = SpaceContext(BASE, DONORS, SHAPE.layout, seed=7, shape=SHAPE)
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())


def arrays(seed=0):
    """Random weights for base and donors."""
    random = np.random.default_rng(seed)
    refs = [BASE, *DONORS.values()]
    return {
        ref: {name: random.standard_normal(shape) for name, shape in SHAPES.items()} for ref in refs
    }


def by_hand(recipe, models):
    """Merge a declared recipe step by step, tensor by tensor."""
    merged = {}
    for name in SHAPES:
        layer = SHAPE.layout.layer_of(name)

        def weight(source, name=name, layer=layer):
            value = source.parameters["weight"]
            if not isinstance(value, tuple):
                return value
            for one in value:
                if one.layers and (layer is None or not one.layers[0] <= layer < one.layers[1]):
                    continue
                if one.filter is None or one.filter in name:
                    return one.value
            raise AssertionError(name)

        weights = [weight(source) for source in recipe.models]
        tensors = [models[source.model][name] for source in recipe.models]
        if recipe.merge_method == "task_arithmetic":
            base = models[BASE][name]
            merged[name] = base + sum(w * (x - base) for w, x in zip(weights, tensors, strict=True))
        else:
            merged[name] = sum(w * x for w, x in zip(weights, tensors, strict=True)) / sum(weights)
    return merged


def flat(weights, order):
    """Lay tensors out in an order, one element at a time."""
    found = []
    for block in order.blocks:
        for unit in range(block.units):
            for member in block.members:
                step = (member.end - member.first) // block.units
                first = member.first + unit * step
                part = np.moveaxis(weights[member.tensor], member.axis, 0)[first : first + step]
                found.append(part.reshape(-1))
    return np.concatenate(found)


def of_table(table, vectors):
    """Combine flat vectors by a table."""
    out = np.zeros(SIZE)
    first = 0
    for end, row in zip(table.ends, table.weights, strict=True):
        for one, weight in zip(table.inputs, row, strict=True):
            out[first:end] += weight * vectors[one.donor][first:end]
        first = end
    return out


def declared(**changes):
    content = {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"range": [0.0, 2.0], "initial": 0.3}},
        **changes,
    }
    return load_space(content, CONTEXT)


GROUPED = {"range": [0.0, 2.0], "initial": 0.3, "layers": 2, "modules": ["attention", "rest"]}


@pytest.mark.parametrize("layout", ["storage", "depth", "unit"])
@pytest.mark.parametrize("genes", [{"range": [0.0, 2.0]}, GROUPED], ids=["donor", "grouped"])
def test_a_merge_becomes_the_same_individual(layout, genes):
    space = declared(genes={"weight": genes})
    random = np.random.default_rng(3)
    genotype = tuple(random.uniform(0, 1.5, len(space.domain)).tolist())
    recipe = space.decode(genotype)
    population = load_space({"population": "task_vectors", "layout": layout}, CONTEXT)
    bred = seeded(population, {"found": recipe}, CONTEXT)
    assert [seed.name for seed in bred.domain.seeds] == ["a", "b", "c", "found"]
    lineage = bred.decode(bred.domain.seeds[-1].genotype).lineage
    models = arrays()
    order = order_of(SHAPE, layout)
    vectors = [flat(models[ref], order) - flat(models[BASE], order) for ref in DONORS.values()]
    merged = flat(models[BASE], order) + of_table(Table.read(lineage.nodes[-1]), vectors)
    np.testing.assert_allclose(merged, flat(by_hand(recipe, models), order), rtol=1e-12, atol=1e-12)


def test_an_average_becomes_the_same_individual_of_task_vectors_and_of_weights():
    space = declared(merge_method="linear", parameters={}, genes={"weight": {"range": [0.1, 2.0]}})
    recipe = space.decode((0.5, 1.5, 1.0))
    models, order = arrays(1), order_of(SHAPE, "depth")
    expected = flat(by_hand(recipe, models), order)
    for kind, origin in (("task_vectors", flat(models[BASE], order)), ("weights", 0.0)):
        bred = seeded(load_space({"population": kind}, CONTEXT), {"found": recipe}, CONTEXT)
        lineage = bred.decode(bred.domain.seeds[-1].genotype).lineage
        vectors = [flat(models[ref], order) - origin for ref in DONORS.values()]
        merged = origin + of_table(Table.read(lineage.nodes[-1]), vectors)
        np.testing.assert_allclose(merged, expected, rtol=1e-12, atol=1e-12)


def individual(splits=3, layout="unit"):
    """A descendant with many segments, and its population."""
    content = {"population": "task_vectors", "operator": "linear", "layout": layout}
    space = load_space(content, CONTEXT)
    descent = Descent(space)
    for number, seed in enumerate(space.domain.seeds):
        descent.add(number, seed.genotype)
    random = np.random.default_rng(5)
    for number in range(3, 3 + splits):
        parents = tuple(random.choice(number, 2, replace=False).tolist())
        cut = space.domain.draw_splits(random)
        descent.add(number, descent.family.cross(parents, [random.random()], cut))
    return descent.recipe(2 + splits)


def test_an_individual_becomes_the_mean_weight_of_each_group():
    recipe = individual(12)
    space = declared(genes={"weight": GROUPED})
    chosen = seeded(space, {"found": recipe}, CONTEXT)
    seed = chosen.domain.seeds[-1]
    assert seed.name == "found"
    # by hand: the coefficient of every single element, averaged over the group of its tensor
    order = order_of(SHAPE, "unit")
    owner = flat({n: np.full(s, i) for i, (n, s) in enumerate(SHAPES.items())}, order)
    table = Table.read(recipe.lineage.nodes[-1])
    rows = np.zeros((SIZE, 3))
    columns = [one.donor for one in table.inputs]
    segment = np.searchsorted(table.ends, np.arange(SIZE), "right")
    rows[:, columns] = table.weights[segment]
    names = list(SHAPES)
    for gene, value in zip(space.domain.genes, seed.genotype, strict=True):
        donor = "abc".index(gene.name[len("weight[")])
        label = gene.name.partition("].")[2]
        first, end = map(int, label[len("layers[") : label.index("]")].split(":"))
        attention = label.endswith("attention")
        mine = []
        for index, name in enumerate(names):
            layer = SHAPE.layout.layer_of(name)
            if layer is None:
                layer = 0 if "embed" in name else LAYERS - 1
            if first <= layer < end and ("self_attn" in name) == attention:
                mine.append(index)
        assert value == pytest.approx(rows[np.isin(owner, mine), donor].mean(), abs=1e-12)


def test_weights_stay_within_the_bounds_of_their_genes():
    recipe = declared().decode((1.9, 0.0, 0.7))
    narrow = declared(genes={"weight": {"range": [0.1, 1.0]}})
    assert seeded(narrow, {"x": recipe}, CONTEXT).domain.seeds[-1].genotype == (1.0, 0.1, 0.7)


def test_slerp_takes_the_second_donors_share():
    context = SpaceContext(BASE, {k: DONORS[k] for k in "ab"}, SHAPE.layout, seed=7, shape=SHAPE)
    content = {"merge_method": "slerp", "genes": {"t": {"range": [0.0, 1.0]}}}
    merge = {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"range": [0.0, 2.0]}},
    }
    recipe = load_space(merge, context).decode((0.6, 0.2))
    found = seeded(load_space(content, context), {"x": recipe}, context)
    assert found.domain.seeds[-1].genotype == pytest.approx((0.25,))


def test_populations_of_one_order_pass_tables_on_unchanged():
    recipe = individual(9)
    space = load_space({"population": "task_vectors", "layout": "unit"}, CONTEXT)
    bred = seeded(space, {"x": recipe}, CONTEXT)
    assert bred.decode(bred.domain.seeds[-1].genotype).lineage.nodes == recipe.lineage.nodes


def test_what_cannot_be_brought_over_is_refused_by_name():
    recipe = declared(merge_method="ties", parameters={}).decode((0.5,) * 3)
    with pytest.raises(SpaceError, match="by ties is no linear combination"):
        seeded(declared(), {"x": recipe}, CONTEXT)
    few = SpaceContext(BASE, {k: DONORS[k] for k in "ab"}, SHAPE.layout, seed=7, shape=SHAPE)
    merge = {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"range": [0.0, 2.0]}},
    }
    recipe = declared().decode((0.5, 0.5, 0.5))
    with pytest.raises(SpaceError, match=r"draws on '/c', which is no donor of this stage"):
        seeded(load_space(merge, few), {"x": recipe}, few)
    with pytest.raises(SpaceError, match=r"draws on '/c'"):
        seeded(load_space({"population": "task_vectors"}, few), {"x": recipe}, few)
    with pytest.raises(SpaceError, match=r"draws on '/base'.*population: task_vectors"):
        seeded(load_space({"population": "weights"}, CONTEXT), {"x": recipe}, CONTEXT)
    averaged = {"merge_method": "linear", "base": "input", "genes": {"weight": {"range": [0.1, 1]}}}
    with_base = load_space(averaged, CONTEXT)
    recipe_with_base = with_base.decode(with_base.domain.initial)
    with pytest.raises(SpaceError, match=r"draws on '/base'"):
        seeded(load_space({"population": "weights"}, CONTEXT), {"x": recipe_with_base}, CONTEXT)
    path = Recipe.model_validate(
        {"merge_method": "passthrough", "models": [{"model": "/a"}], "path": {"hops": [[0, 0]]}}
    )
    with pytest.raises(SpaceError, match="layer path"):
        seeded(declared(), {"x": path}, CONTEXT)
    with pytest.raises(SpaceError, match="only weights of models can be seeded"):
        seeded(load_space("depthwise", CONTEXT), {"x": recipe}, CONTEXT)


def test_weights_of_a_tensor_sum_to_one_where_the_base_takes_the_rest():
    found = weights_of(declared().decode((0.5, 0.25, 0.75)), BASE, SHAPE)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert found.weights[0, 0] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"lambda": 0.5}, {"lambda": 2.0, "normalize": False}],
    ids=lambda parameters: ",".join(parameters) or "plain",
)
def test_a_merge_comes_back_to_its_own_space_as_it_was(parameters):
    space = declared(parameters={"normalize": False, **parameters}, genes={"weight": GROUPED})
    genotype = tuple(np.random.default_rng(8).uniform(0.1, 1.9, len(space.domain)).tolist())
    found = weights_of(space.decode(genotype), BASE, SHAPE)
    assert space.nearest(found, SHAPE) == pytest.approx(genotype)


def test_a_gradient_is_read_at_the_depth_of_each_layer():
    space = declared(
        parameters={"normalize": False, "lambda": [0.0, 1.0]},
        genes={"weight": {"range": [0.0, 2.0], "initial": 0.3}},
    )
    recipe = space.decode((0.4, 0.6, 0.8))
    rows = weights_of(recipe, BASE, SHAPE).by_tensor()
    for layer, factor in ((0, 0.0), (1, 0.5), (2, 1.0)):
        row = rows[f"model.layers.{layer}.mlp.gate_proj.weight"]
        np.testing.assert_allclose(row[1:], factor * np.array([0.4, 0.6, 0.8]))
    with pytest.raises(SpaceError, match="need one lambda"):
        seeded(space, {"x": recipe}, CONTEXT)


def test_random_mutations_count_by_their_expectation():
    content = {"population": "task_vectors", "operator": "linear"}
    space = load_space(content, CONTEXT)
    descent = Descent(space)
    for number, seed in enumerate(space.domain.seeds):
        descent.add(number, seed.genotype)
    blend = descent.family.blend
    descent.add(3, blend([0, 1], [0.5, 0.5], SeedSvdMutation(3, 2, 0.2)))
    descent.add(4, blend([3, 1], [0.5, 0.5], GaussianMutation(4, 0.1)))
    descent.add(5, blend([4, 0], [0.8, 0.2], ChildSvdMutation(5, 1.5)))
    found = weights_of(descent.recipe(5), BASE, SHAPE)
    # by hand: a/2 + b/2 + 0.1 c; then b/2 more; then 0.8 of it and 0.2 a, times 0.75
    expected = 0.75 * np.array([0.8 * 0.25 + 0.2, 0.8 * 0.75, 0.8 * 0.05])
    np.testing.assert_allclose(found.weights[0, 1:], expected)
    plain = declared(genes={"weight": {"range": [0.0, 2.0]}})
    assert seeded(plain, {"x": descent.recipe(5)}, CONTEXT).domain.seeds[-1].genotype == (
        pytest.approx(tuple(expected))
    )
