"""Each tensor gets the gene of its own group: decoded by brute force, tensor by tensor."""

import itertools

import pytest

from evomerge.recipe import part_of
from evomerge.recipe.parameters import Place, resolve
from evomerge.spaces import load_space
from tests.recipe.layouts import LAYOUTS, gpt2, llama
from tests.spaces.models import context


def expected_group(layout, name, layers, separate, modules):
    """The label of a tensor's gene, straight from the rules of the schema."""
    layer, part = layout.layer_of(name), part_of(name)
    module = next(m for m in modules or ["rest"] if m in (part, "rest"))
    label = module if modules else ""
    if layers is None:
        return label
    module_in_layers = any(
        layout.layer_of(other) is not None
        and next(m for m in modules or ["rest"] if m in (part_of(other), "rest")) == module
        for other in layout.tensors
    )
    side = "embedding" if part == "embedding" else "head"
    if layer is None and (separate or not module_in_layers):
        return side if module in ("rest", side) else None
    if layer is None:
        layer = 0 if side == "embedding" else layout.n_layers - 1
    first = layer // layers * layers
    band = f"layers[{first}:{min(first + layers, layout.n_layers)}]"
    return f"{band}.{label}" if label else band


CASES = list(
    itertools.product(
        sorted(LAYOUTS),
        [1, 5],
        [(None, False), (1, False), (4, False), (4, True)],
        [None, ["attention", "mlp", "rest"], ["norm", "rest"], ["mlp", "embedding", "rest"]],
    )
)


@pytest.mark.parametrize(("family", "n_layers", "sharing", "modules"), CASES)
def test_every_tensor_has_the_gene_of_its_group(family, n_layers, sharing, modules):
    layers, separate = sharing
    layout = LAYOUTS[family](n_layers)
    gene = {"range": [0, 1000]}
    if modules:
        gene["modules"] = modules
    if layers:
        gene |= {"layers": layers, "outside_layers": "separate" if separate else "follow"}
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(layout)
    )
    genes = space.domain.genes
    recipe = space.decode(tuple(float(i) for i in range(len(genes))))
    seen = set()
    for donor, source in zip(("math", "code"), recipe.models, strict=True):
        for name in layout.tensors:
            place = Place(name, layout.layer_of(name), 0.0)
            index = resolve("weight", (source.parameters, recipe.parameters), place)
            found = genes[int(index)].name
            seen.add(found)
            label = expected_group(layout, name, layers, separate, modules)
            if label is None:  # sides of a named module: the label is ours, the owner is not
                assert found.startswith(f"weight[{donor}].")
            else:
                assert found == f"weight[{donor}]" + (f".{label}" if label else ""), name
    assert seen == {gene.name for gene in genes}, "a gene that no tensor reads"


def test_names_and_order():
    gene = {"range": [0, 1], "layers": 4, "modules": ["attention", "rest"]}
    gene["outside_layers"] = "separate"
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(llama(6), 1)
    )
    assert [one.name for one in space.domain.genes] == [
        "weight[math].embedding",
        "weight[math].layers[0:4].attention",
        "weight[math].layers[0:4].rest",
        "weight[math].layers[4:6].attention",
        "weight[math].layers[4:6].rest",
        "weight[math].head",
    ]


def test_modules_need_no_layer_conditions():
    gene = {"range": [0, 1], "modules": ["attention", "mlp", "rest"]}
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(llama(32), 1)
    )
    value = space.decode((0.1, 0.2, 0.3)).models[0].parameters["weight"]
    assert [(one.filter, one.layers, one.value) for one in value] == [
        ("self_attn", None, 0.1),
        ("mlp", None, 0.2),
        (None, None, 0.3),
    ]


def test_substrings_are_modules():
    gene = {"range": [0, 1], "modules": ["c_attn", "rest"]}
    layout = gpt2(3)
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(layout, 1)
    )
    recipe = space.decode((0.25, 0.75))
    for name in layout.tensors:
        place = Place(name, layout.layer_of(name), 0.0)
        value = resolve("weight", (recipe.models[0].parameters,), place)
        assert value == (0.25 if "c_attn" in name else 0.75)


def test_fixed_parts_are_not_searched():
    gene = {"range": [0.5, 1.5], "fixed": {"norm": 0.0, "embedding": 1}, "layers": 2}
    layout = llama(5)
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(layout, 1)
    )
    assert [one.name.partition(".")[2] for one in space.domain.genes] == [
        "layers[0:2]",
        "layers[2:4]",
        "layers[4:5]",
    ]
    recipe = space.decode((0.5, 1.0, 1.5))
    for name in layout.tensors:
        place = Place(name, layout.layer_of(name), 0.0)
        value = resolve("weight", (recipe.models[0].parameters,), place)
        part, layer = part_of(name), layout.layer_of(name)
        if part in ("norm", "embedding"):
            assert value == (0.0 if part == "norm" else 1)
        else:
            assert value == (1.5 if layer is None else 0.5 + (layer // 2) / 2)


@pytest.mark.parametrize("n_layers", [1, 7, 32])
def test_layers_that_do_not_divide_leave_a_shorter_group(n_layers):
    gene = {"range": [0, 1], "layers": 4}
    space = load_space(
        {"merge_method": "task_arithmetic", "genes": {"weight": gene}}, context(llama(n_layers), 1)
    )
    runs = [eval(one.name.partition(".layers")[2].replace(":", ",")) for one in space.domain.genes]
    assert [layer for first, end in runs for layer in range(first, end)] == list(range(n_layers))
