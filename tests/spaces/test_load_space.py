import json

import pytest

from evomerge.errors import InvalidGenotype, PluginError, SpaceError
from evomerge.located_yaml import load_located
from evomerge.recipe import ModelRef, native
from evomerge.spaces import Origin, SpaceContext, SpaceSpec, load_space, shipped_spaces
from tests.recipe.layouts import gpt2, llama, qwen2
from tests.spaces.models import context, shipped_with

SHIPPED = sorted(shipped_spaces())


def test_what_is_shipped():
    assert SHIPPED == [
        "attention_mlp",
        "cycleqd",
        "dare_ties",
        "dare_ties_layerwise",
        "depthwise",
        "joint_dare_ties_depthwise",
        "layer_sequence",
        "linear",
        "m2n2",
        "mm_mo",
        "operators",
        "operators_layerwise",
        "sakana_dfs",
        "sakana_dfs_matrix",
        "sakana_ps",
        "slerp_layerwise",
        "task_arithmetic",
        "task_arithmetic_layerwise",
        "ties",
    ]
    for path in shipped_spaces().values():
        assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("layout", [llama, gpt2, qwen2])
@pytest.mark.parametrize("name", shipped_with("merge_method"))
def test_shipped_merge_spaces_decode(name, layout):
    for n_donors in range(2, 7):
        models = context(layout(5), n_donors, dtype="bfloat16", seed=9)
        if name.startswith("slerp") and n_donors > 2:
            with pytest.raises(SpaceError, match="merges exactly 2 donors, the study has"):
                load_space(name, models)
            continue
        space = load_space(name, models)
        domain = space.domain
        assert len({gene.name for gene in domain.genes}) == len(domain)
        units = [[0.0] * len(domain), [1.0] * len(domain), domain.to_unit(domain.initial)]
        points = [domain.from_unit(unit) for unit in units]
        points += [domain.initial, *(seed.genotype for seed in domain.seeds)]
        for genotype in points:
            assert all(
                gene.low <= value <= gene.high
                for gene, value in zip(domain.genes, genotype, strict=True)
            )
            again = tuple(json.loads(json.dumps(genotype)))
            assert again == genotype
            recipe = space.decode(genotype)
            assert repr(space.decode(again)) == repr(recipe)
            assert native.loads(native.dumps(recipe)) == recipe
            assert (recipe.dtype, recipe.seed, recipe.compat) == ("bfloat16", 9, None)
        with pytest.raises(InvalidGenotype, match="is outside"):
            space.decode((domain.genes[0].high + 0.1, *domain.initial[1:]))
        with pytest.raises(InvalidGenotype, match="is outside"):
            space.decode((float("nan"), *domain.initial[1:]))
        with pytest.raises(InvalidGenotype, match="the genotype"):
            space.decode(domain.initial[1:])


def test_sakana_preset():
    domain = load_space("sakana_ps", context(llama(4), 3)).domain
    assert {(gene.low, gene.high, gene.initial) for gene in domain.genes} == {(0.0, 1.0, 0.5)}
    assert len(domain) == 6


def test_inputs_of_slerp_and_linear():
    models = context(llama(4), 2)
    recipe = load_space("slerp_layerwise", models).decode((0.5,))
    assert recipe.base_model == models.donors["math"]
    assert [source.model for source in recipe.models] == list(models.donors.values())
    recipe = load_space("linear", models).decode((0.1, 0.2, 0.3))
    assert recipe.base_model == models.base  # listed below, so it counts as an input once
    assert [(s.model.path, s.parameters["weight"]) for s in recipe.models] == [
        ("./math", 0.1),
        ("./code", 0.2),
        ("./base", 0.3),
    ]


def test_kinds_of_genes():
    genes = {
        "weight": {"range": [0.01, 100], "scale": "log", "per": "all"},
        "rescale": {"choices": [False, "l1", "none"], "initial": "l1"},
        "normalize": {"choices": [False, True]},
    }
    space = load_space({"merge_method": "ties", "genes": genes}, context(llama(2)))
    weight, rescale, normalize = space.domain.genes
    assert weight.log
    assert weight.initial == pytest.approx(1.0)
    assert (rescale.choices, rescale.initial) == (("false", "l1", "none"), "l1")
    assert normalize.initial == "false"
    recipe = space.decode((2.0, "false", "true"))
    assert recipe.parameters == {"weight": 2.0, "rescale": False, "normalize": True}
    assert recipe.parameters["rescale"] is False
    with pytest.raises(InvalidGenotype, match="none of"):
        space.decode((2.0, "l2", "true"))


def test_integer_genes():
    gene = {"range": [1, 20], "kind": "integer"}
    space = load_space({"merge_method": "karcher", "genes": {"max_iter": gene}}, context(llama(2)))
    assert space.domain.initial == (10,)
    assert type(space.decode((7,)).parameters["max_iter"]) is int
    with pytest.raises(InvalidGenotype, match="whole"):
        space.decode((7.5,))


def test_names_of_spaces(tmp_path):
    models = context(llama(2))
    text = shipped_spaces()["ties"].read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.py").write_text(
        "from evomerge.spaces import load_space\n"
        "def space(context):\n    return load_space('ties', context)\n"
        "number = 3\n"
        "def nothing(context):\n    return 3\n",
        encoding="utf-8",
    )
    by_name = load_space("ties", models)
    data, _ = load_located(text, "f")
    for same in (
        load_space("mine.yaml", models, folder=tmp_path),
        load_space(tmp_path / "mine.yaml", models),
        load_space("./mine.py:space", models, folder=tmp_path),
        load_space(data, models),
        load_space(SpaceSpec.model_validate(data), models),
    ):
        assert same.domain == by_name.domain
    with pytest.raises(SpaceError, match="not callable"):
        load_space("./mine.py:number", models, folder=tmp_path)
    with pytest.raises(SpaceError, match="without domain and decode"):
        load_space("./mine.py:nothing", models, folder=tmp_path)
    with pytest.raises(PluginError, match="does not exist"):
        load_space("./absent.py:space", models, folder=tmp_path)
    with pytest.raises(SpaceError, match="'tie' is unknown; did you mean 'ties'"):
        load_space("tie", models)
    with pytest.raises(SpaceError, match=r"cannot be read.*'ties' alone names the shipped one"):
        load_space("search_spaces/ties.yaml", models, folder=tmp_path)


TASK = "merge_method: task_arithmetic\ngenes:\n  weight:\n    range: [0, 1]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "merge_metod: ties\ngenes: {t: {range: [0, 1]}}\n",
            "s.yaml:1: merge_method: this key is required",
        ),
        (
            TASK + "    layrs: 4\n",
            "s.yaml:5: genes.weight.layrs: unknown key; did you mean 'layers'?",
        ),
        (
            TASK + "    layers: 0\n",
            "s.yaml:5: genes.weight.layers: expected greater than or equal to 1",
        ),
        (
            TASK + "  wieght: {range: [0, 1]}\n",
            "s.yaml:5: genes.wieght: task_arithmetic has no parameter 'wieght'; did you mean",
        ),
        (
            TASK + "parameters: {wieght: 1}\n",
            "s.yaml:5: parameters.wieght: task_arithmetic has no parameter 'wieght'; did you mean",
        ),
        (TASK + "    initial: 2\n", "s.yaml:5: genes.weight.initial: expected a number in [0, 1]"),
        (
            TASK + "    initial: half\n",
            "s.yaml:5: genes.weight.initial: expected a number in [0, 1]",
        ),
        (TASK + "    scale: log\n", "s.yaml:3: genes.weight: scale: log needs a positive range"),
        (
            TASK + "    modules: [atention, rest]\n",
            "s.yaml:5: genes.weight.modules: no tensor of the base has 'atention'",
        ),
        (
            TASK + "    modules: [attention]\n",
            "s.yaml:5: genes.weight.modules: tensor 'lm_head.weight' belongs to none",
        ),
        (
            TASK + "    modules: [mlp, up_proj, rest]\n",
            "s.yaml:5: genes.weight.modules: 'up_proj' has no tensor left",
        ),
        (TASK + "    modules: [rest, mlp]\n", "s.yaml:3: genes.weight: 'rest' must stand last"),
        (
            TASK + "    fixed: {rest: 1}\n    modules: [norm, rest]\n",
            "s.yaml:3: genes.weight: modules and fixed name",
        ),
        (
            TASK + "    outside_layers: follow\n",
            "s.yaml:3: genes.weight: outside_layers does nothing",
        ),
        (
            TASK + "parameters: {weight: 1}\n",
            "s.yaml:1: 'weight' is both a gene and a fixed parameter",
        ),
        (
            TASK + "  lambda: {range: [0, 1], per: donor}\n",
            "s.yaml:5: genes.lambda.per: task_arithmetic takes one",
        ),
        (
            TASK + "  density: {range: [0, 2]}\n",
            "s.yaml:5: genes.density.range: a density is a kept fraction",
        ),
        (
            TASK + "base: input\n",
            "s.yaml:5: base: task_arithmetic has no place for the base as 'input'",
        ),
        (
            "merge_method: my.own:method\ngenes: {x: {range: [0, 1]}}\n",
            "s.yaml:2: genes.x: evomerge has no merge method 'my.own:method'",
        ),
        ("merge_method: ties\ngenes: {}\n", "s.yaml:2: genes: "),
        (
            "merge_method: ties\ngenes: {weight: {}}\n",
            "s.yaml:2: genes.weight: give exactly one of 'range' and 'choices'",
        ),
        (
            "merge_method: ties\ngenes: {weight: {range: [1, 0]}}\n",
            "s.yaml:2: genes.weight: range must be [smallest, largest]",
        ),
        (
            "merge_method: nearswap\ngenes: {t: {range: [0, 1]}}\n",
            "s.yaml:1: merge_method: nearswap merges exactly 1 donors",
        ),
        ("merge_method: [\n", "s.yaml:2: not YAML"),
        ("[]\n", "s.yaml:1: expected a mapping, got []"),
    ],
)
def test_bad_files_say_one_clear_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space("s.yaml", context(llama(4)))
    assert any(line.startswith(message) for line in str(caught.value).splitlines()), caught.value


def test_inline_spaces_point_into_the_study():
    text = (
        "name: x\nspace:\n  merge_method: ties\n  genes:\n    weight: {range: [0, 1], layer: 4}\n"
    )
    data, locate = load_located(text, "study.yaml")
    with pytest.raises(SpaceError) as caught:
        load_space(
            data["space"], context(llama(2)), origin=Origin("study.yaml", locate, ("space",))
        )
    expected = "space.genes.weight.layer: unknown key; did you mean 'layers'?"
    assert str(caught.value) == f"study.yaml:5: {expected}"
    with pytest.raises(SpaceError) as caught:
        load_space(data["space"], context(llama(2)), origin=Origin("study.yaml", None, ("space",)))
    assert str(caught.value) == f"study.yaml: {expected}"


def test_no_donors():
    with pytest.raises(SpaceError, match="at least one donor"):
        SpaceContext(ModelRef(path="b"), {}, llama(1))


def test_a_donor_called_base():
    models = SpaceContext(ModelRef(path="b"), {"base": ModelRef(path="c")}, llama(1))
    with pytest.raises(SpaceError, match="rename that donor"):
        load_space("linear", models)


def test_schema_is_json_schema():
    schema = SpaceSpec.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"merge_method", "genes"}
