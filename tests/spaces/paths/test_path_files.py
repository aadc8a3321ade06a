"""Files of path spaces: what they may say, and what is said about a wrong one."""

from dataclasses import replace

import pytest

from evomerge.errors import SpaceError
from evomerge.located_yaml import load_located
from evomerge.recipe import ParameterCounts
from evomerge.recipe.blocks import BLOCKS
from evomerge.spaces import JointSpec, Origin, PathSpace, declaration, load_space
from evomerge.spaces.paths import DepthwiseSpec, SequenceSpec, SlotsSpec
from tests.recipe.layouts import llama
from tests.spaces.models import context, decoders

MERGE = "merge: {merge_method: ties, genes: {weight: {range: [0, 1]}}}\n"


def test_a_spec_rebuilds_its_space():
    models = decoders(6, 2)
    specs = [
        SlotsSpec(path="slots", repeats=2, order="interleaved", scales="matrix"),
        DepthwiseSpec(
            path="depthwise",
            window=1,
            stack=2,
            scaling="full",
            scale_range=(0.5, 2.0),
            scale_spread=0.2,
            scale_embedding=True,
            limits={"max_growth": 1.5, "max_unique_layers": 8, "min_hops": 2, "max_uses": 2},
            start={"at": "random", "own": 0.5, "other": 0.5},
        ),
        SequenceSpec(path="sequence", scales="none", fixed_ends=False, limits={"max_hops": 9}),
    ]
    for spec in specs:
        space = load_space(spec, models)
        assert isinstance(space, PathSpace)
        for content in (declaration(space), spec.model_dump(mode="json"), spec.model_dump()):
            again = load_space(content, models)
            assert again.spec == spec
            assert again.domain == space.domain


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("10B", 10**10),
        ("10e9", 10**10),
        ("1.0e+10", 10**10),
        ("7.25 b", 7_250_000_000),
        ("500M", 5 * 10**8),
        ("12345", 12345),
    ],
)
def test_parameters_are_written_as_people_do(tmp_path, written, amount):
    (tmp_path / "s.yaml").write_text(f"path: slots\nlimits: {{max_parameters: {written}}}\n")
    models = decoders(4)
    known = dict.fromkeys(models.donors.values(), ParameterCounts((100,) * 4, 50))
    space = load_space(tmp_path / "s.yaml", replace(models, parameters=known))
    assert space.spec.limits.max_parameters == amount
    assert declaration(space)["limits"] == {"max_parameters": amount}


def test_what_a_declaration_holds():
    models = decoders(4)
    content = {"path": "depthwise", "window": 1, "limits": {"max_growth": 1.5}}
    assert declaration(load_space(content, models)) == content
    assert declaration(load_space("ties", models))["merge_method"] == "ties"
    assert JointSpec.model_json_schema()["required"] == ["merge", "layers"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path: slot\n",
            "s.yaml:1: path: expected slots, depthwise, sequence, got 'slot'; did you",
        ),
        ("path: 3\n", "s.yaml:1: path: expected slots, depthwise, sequence, got 3"),
        ("path: slots\nrepeat: 2\n", "s.yaml:2: repeat: unknown key; did you mean 'repeats'?"),
        ("path: slots\ngenes: {}\n", "s.yaml:2: genes: unknown key"),
        ("path: slots\nrepeats: 0\n", "s.yaml:2: repeats: expected greater than or equal to 1"),
        (
            "path: slots\nrepeats: 100000000000000000000\n",
            "s.yaml:2: repeats: must be at most 10,000, the most hops of any path; got 1e+20",
        ),
        (
            "path: slots\nrepeats: 2000\n",
            "s.yaml:2: repeats: makes 16,000 places, and a path has at most 10,000 hops; lower it",
        ),
        ("path: depthwise\nstack: 9999\n", "s.yaml:2: stack: makes 39,996 places"),
        (
            "path: depthwise\nwindow: 100000000000000000000\n",
            "s.yaml:2: window: must be at most 10,000",
        ),
        ("path: depthwise\nband: 1000000000\n", "s.yaml:2: band: must be at most 10,000"),
        (
            "path: slots\nlimits: {max_growth: 1.0e+300}\n",
            "s.yaml:2: limits.max_growth: must be at most 10,000",
        ),
        (
            "path: slots\nlimits: {max_parameters: 10Q}\n",
            "s.yaml:2: limits.max_parameters: expected a number of parameters such as 10e9 or 10B",
        ),
        (
            "path: slots\nlimits: {max_parameters: -1}\n",
            "s.yaml:2: limits.max_parameters: expected greater than or equal to 1",
        ),
        (
            "path: slots\nlimits: {max_parameters: 10B}\n",
            "s.yaml:2: limits.max_parameters: the parameters of the donors are not known here",
        ),
        ("path: slots\nscaling: half\n", "s.yaml:2: scaling: expected 'delta' or 'full'"),
        (
            "path: slots\nlimits:\n  max_hop: 3\n",
            "s.yaml:3: limits.max_hop: unknown key; did you mean 'max_hops'?",
        ),
        (
            "path: slots\nlimits:\n  max_hops: 1\n",
            "s.yaml:3: limits.max_hops: leaves room for 1 layers, too few for two fixed ends",
        ),
        (
            "path: slots\nlimits: {min_hops: 5, max_hops: 3}\n",
            "s.yaml:2: limits.max_hops: must not be less than min_hops, 5; got 3",
        ),
        ("path: slots\nstart: {own: 1}\n", "s.yaml:2: start.own: expected less than 1"),
        (
            "path: slots\nscales: none\nscale_range: [0.5, 2]\n",
            "s.yaml:3: scale_range: does nothing with 'scales: none'",
        ),
        (
            "path: slots\nscale_range: [1.1, 2]\n",
            "s.yaml:2: scale_range: must be [smallest, largest] around 1",
        ),
        (
            "path: slots\nscale_range: [0, 1, 2]\n",
            "s.yaml:2: scale_range: expected",
        ),
        (
            "path: slots\nscaling: full\nscale_range: [0, 2]\n",
            "s.yaml:3: scale_range: with 'scaling: full' or scale_embedding",
        ),
        (
            "path: slots\nscale_embedding: true\nscale_range: [-1, 2]\n",
            "s.yaml:3: scale_range: with 'scaling: full' or scale_embedding",
        ),
        (
            "path: slots\nscales: matrix\nscale_embedding: true\n",
            "s.yaml:3: scale_embedding: a matrix of scales has none for the first hop",
        ),
        (
            "path: depthwise\nscales: matrix\n",
            "s.yaml:2: scales: a matrix of scales belongs to 'path: slots'",
        ),
        ("path: sequence\n", "s.yaml:1: limits: a sequence needs a longest path; add max_hops or"),
        ("layers: {path: slots}\n", "s.yaml:1: merge: this key is required and missing"),
        (MERGE + "layers: {path: slot}\n", "s.yaml:2: layers.path: expected slots, depthwise"),
        (MERGE + "layers: 3\n", "s.yaml:2: layers: expected"),
        (
            MERGE + "layers: {path: slots, repeat: 2}\n",
            "s.yaml:2: layers.repeat: unknown key; did you mean 'repeats'?",
        ),
        (
            MERGE + "layers: {path: slots}\ndonors: [math, cod]\n",
            "s.yaml:3: donors[1]: no donor is called 'cod'; did you mean 'code'?",
        ),
        (
            MERGE + "layers: {path: slots}\ndonors: [math, math]\n",
            "s.yaml:3: donors: names one twice",
        ),
        (
            MERGE + "layers: {path: slots, limits: {max_hops: 1}}\n",
            "s.yaml:2: layers.limits.max_hops: leaves room for 1 layers",
        ),
        (
            "merge: {merge_method: tis, genes: {wieght: {range: [0, 1]}}}\nlayers: {path: slots}\n",
            "s.yaml:1: merge.genes.wieght: ",
        ),
    ],
)
def test_bad_files_say_one_clear_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space("s.yaml", decoders(4))
    assert any(line.startswith(message) for line in str(caught.value).splitlines()), caught.value


def test_inline_spaces_point_into_the_study():
    text = "name: x\nspace:\n  path: slots\n  limits: {max_growth: 0.1}\n"
    data, locate = load_located(text, "study.yaml")
    with pytest.raises(SpaceError) as caught:
        load_space(data["space"], decoders(4), origin=Origin("study.yaml", locate, ("space",)))
    assert str(caught.value).startswith("study.yaml:4: space.limits.max_growth: leaves room for 0")


def test_architectures():
    for kind in BLOCKS:
        models = context(replace(llama(3), model_type=kind))
        assert len(load_space("depthwise", models).domain) == 3
    for kind, named in (("bert", "'bert'"), ("", "of unknown type")):
        with pytest.raises(SpaceError) as caught:
            load_space("depthwise", context(replace(llama(3), model_type=kind)))
        assert named in str(caught.value)
        assert all(supported in str(caught.value) for supported in BLOCKS)


def test_models_without_anything_to_search():
    with pytest.raises(SpaceError, match="nothing to search: donor 'math' has 2 layers"):
        load_space({"path": "depthwise", "scales": "none"}, decoders(2))
    with pytest.raises(SpaceError, match="donor 'code' has no layers"):
        load_space("depthwise", decoders(2, depths={"code": 0}))
