"""Sequence operators against plain lists, their limits, and a search that needs them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import SpaceError
from evomerge.optimizers import sequence_variation, sequences
from evomerge.optimizers.nsga2 import Nsga2
from evomerge.optimizers.sequence_variation import SequenceCrossover, SequenceMutation
from evomerge.optimizers.sequences import Sequences
from evomerge.spaces.domain import Domain, HopSequence
from evomerge.testing.problems import Problem, sequence_domain
from evomerge.testing.simulation import drive, proposals, trials

LIMIT = 6
DOMAIN = sequence_domain(LIMIT)
EDITS = ("insert", "delete", "repeat", "swap", "move", "change")


def table(elements):
    """Elements as rows (number, 100 + number): the attribute tells whose it is."""
    return np.array([[float(e), 100.0 + e] for e in elements]).reshape(-1, 2)


def listed(sequence):
    return [tuple(row) for row in sequence.tolist()]


def expected(elements):
    return listed(table(elements))


SMALL = [list(range(n)) for n in range(1, 5)]


def test_insert_against_lists():
    for elements in [[], *SMALL]:
        for at in range(len(elements) + 1):
            wanted = list(elements)
            wanted.insert(at, 9)
            edited = sequences.insert(table(elements), at, np.array([9.0, 109.0]))
            assert listed(edited) == expected(wanted)


def test_delete_and_repeat_against_lists():
    for elements in SMALL:
        for start, stop in itertools.combinations(range(len(elements) + 1), 2):
            wanted = [e for i, e in enumerate(elements) if not start <= i < stop]
            assert listed(sequences.delete(table(elements), start, stop)) == expected(wanted)
            wanted = [*elements[:stop], *elements[start:stop], *elements[stop:]]
            assert listed(sequences.repeat(table(elements), start, stop)) == expected(wanted)


def test_swap_and_change_against_lists():
    for elements in SMALL:
        for i, j in itertools.permutations(range(len(elements)), 2):
            wanted = list(elements)
            wanted[i], wanted[j] = wanted[j], wanted[i]
            assert listed(sequences.swap(table(elements), i, j)) == expected(wanted)
        for at in range(len(elements)):
            changed = listed(sequences.change(table(elements), at, 7.0))
            wanted = expected(elements)
            wanted[at] = (7.0, wanted[at][1])  # the place keeps its attribute
            assert changed == wanted


def test_move_against_lists():
    for elements in SMALL:
        for start, stop in itertools.combinations(range(len(elements) + 1), 2):
            rest = elements[:start] + elements[stop:]
            for to in range(len(rest) + 1):
                wanted = rest[:to] + elements[start:stop] + rest[to:]
                assert listed(sequences.move(table(elements), start, stop, to)) == expected(wanted)


def test_splice_against_lists():
    receiver, donor = [0, 1, 2], [5, 6, 7, 8]
    for gap in itertools.combinations_with_replacement(range(4), 2):
        for segment in itertools.combinations_with_replacement(range(5), 2):
            for limit in (3, 4, 9):
                kept = receiver[: gap[0]], receiver[gap[1] :]
                piece = donor[segment[0] : segment[1]]
                while len(kept[0]) + len(piece) + len(kept[1]) > limit:
                    piece = piece[:-1]
                wanted = [*kept[0], *piece, *kept[1]] or receiver
                child = sequences.splice(table(receiver), gap, table(donor), segment, limit)
                assert listed(child) == expected(wanted)


def point(elements, scales=None, weight=0.5):
    """A point of the unit cube that spells elements from the first position on."""
    values = []
    for i in range(LIMIT):
        element = elements[i] if i < len(elements) else "-"
        scale = (scales[i] if scales else 0.6 + 0.1 * i) if i < len(elements) else 1.0
        values += [element, scale]
    return np.array(DOMAIN.to_unit((*values, weight)))


def spelled(row):
    genotype = DOMAIN.from_unit(row)
    return [
        (genotype[2 * i], round(genotype[2 * i + 1], 9))
        for i in range(LIMIT)
        if genotype[2 * i] != "-"
    ]


WORDS = st.text("abc", min_size=1, max_size=LIMIT)


@given(st.lists(st.sampled_from("-abc"), min_size=LIMIT, max_size=LIMIT), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_read_is_written_back_packed(elements, data):
    codec = Sequences(DOMAIN)
    scales = data.draw(st.lists(st.floats(0.5, 1.5), min_size=LIMIT, max_size=LIMIT))
    genotype = DOMAIN.canonical(
        (*(v for pair in zip(elements, scales, strict=True) for v in pair), 0.5)
    )
    row = np.array(DOMAIN.to_unit(genotype))
    (packed,) = codec.packed(row[None])
    assert spelled(packed) == spelled(row)
    length = len(codec.read(row))
    assert length == sum(element != "-" for element in elements)
    assert [value == "-" for value in DOMAIN.from_unit(packed)[: 2 * LIMIT : 2]] == [
        False
    ] * length + [True] * (LIMIT - length)
    assert (codec.packed(packed[None])[0] == packed).all()


@given(WORDS, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_one_edit_keeps_the_limit_and_the_attributes(word, seed):
    operator = SequenceMutation(DOMAIN, 1.0, 20.0)
    codec = Sequences(DOMAIN)
    before = codec.read(point(word))
    after = operator.edit(before, np.random.default_rng(seed))
    assert 1 <= len(after) <= LIMIT
    old, new = listed(before), listed(after)
    # every scale of before is unique: a known scale must still belong to its element, but for a
    # changed place, which keeps its scale
    owner = {scale: element for element, scale in old}
    strangers = [(e, s) for e, s in new if owner.get(s) != e]
    assert len(strangers) <= 1
    for _, scale in strangers:
        assert scale in owner or scale == pytest.approx(0.5), "new elements start at 1.0"
    assert new != old or len(set(map(tuple, old))) < len(old)


def test_all_edits_are_reached_about_equally(monkeypatch):
    operator = SequenceMutation(DOMAIN, 1.0, 20.0)
    counts = dict.fromkeys(EDITS, 0)

    def counted(name, edit):
        def call(*arguments):
            counts[name] += 1
            return edit(*arguments)

        return call

    for name in EDITS:
        monkeypatch.setattr(sequence_variation, name, counted(name, getattr(sequences, name)))
    rng = np.random.default_rng(0)
    sequence = Sequences(DOMAIN).read(point("abca"))
    for _ in range(1200):
        operator.edit(sequence, rng)
    assert all(150 < count < 250 for count in counts.values()), counts


@pytest.mark.parametrize(
    ("word", "allowed"),
    [("", {"a", "b", "c"}), ("a", None), ("abcabc", None)],
)
def test_edits_that_a_length_rules_out_are_not_drawn(word, allowed):
    operator = SequenceMutation(DOMAIN, 1.0, 20.0)
    codec = Sequences(DOMAIN)
    row = point(word)
    lengths = set()
    for seed in range(600):
        copy = row.copy()
        codec.write(copy, operator.edit(codec.read(row), np.random.default_rng(seed)))
        word_after = "".join(element for element, _ in spelled(copy))
        lengths.add(len(word_after))
        assert allowed is None or word_after in allowed
    assert lengths == {"": {1}, "a": {1, 2}, "abcabc": {1, 2, 3, 4, 5, 6}}[word]


@given(WORDS, WORDS, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_crossover_splices_segments_with_their_attributes(first, second, seed):
    operator = SequenceCrossover(DOMAIN, 1.0, 15.0)
    rows = [
        point(first, [0.5 + 0.05 * i for i in range(LIMIT)], 0.0),
        point(second, [1.0 + 0.05 * i for i in range(LIMIT)], 1.0),
    ]
    children = operator._do(None, np.array(rows)[:, None], random_state=np.random.default_rng(seed))
    parents = [spelled(row) for row in rows]
    for which in (0, 1):
        child = spelled(children[which, 0])
        assert 1 <= len(child) <= LIMIT
        own, other = parents[which], parents[1 - which]
        assert all(pair in own or pair in other for pair in child)
        inside = [index for index, pair in enumerate(child) if pair in other]
        assert inside == list(range(inside[0], inside[0] + len(inside))) if inside else True
        # kept: a head and a tail of the one parent; put in: a run of the other
        head = child[: inside[0]] if inside else child
        tail = child[inside[-1] + 1 :] if inside else []
        assert not inside or (head == own[: len(head)])
        assert tail == own[len(own) - len(tail) :]
        run = [child[index] for index in inside]
        assert any(other[k : k + len(run)] == run for k in range(len(other) - len(run) + 1))


def test_genes_beside_the_sequence_are_crossed_and_mutated_as_ever():
    rng = np.random.default_rng(0)
    parents = np.array([[point("abc", weight=-0.5)] * 100, [point("abc", weight=1.5)] * 100])
    children = SequenceCrossover(DOMAIN, 1.0, 15.0)._do(None, parents, random_state=rng)
    assert len(set(children[:, :, -1].ravel().tolist())) > 50
    mutated = SequenceMutation(DOMAIN, 1.0, 20.0)._do(None, parents[0], random_state=rng)
    changed = mutated != parents[0]
    assert 0.03 < changed[:, -1].mean() < 0.4, "one gene in seven, and half of the moves are tiny"
    assert (
        0.3
        < np.mean([spelled(a) != spelled(b) for a, b in zip(mutated, parents[0], strict=True)])
        < 0.9
    )


def hops(genotype):
    return [genotype[2 * i] for i in range(LIMIT) if genotype[2 * i] != "-"]


def test_nsga2_proposes_packed_canonical_sequences_once():
    problem = Problem("length", DOMAIN, 1, lambda g: (abs(len(hops(g)) - 4) + g[-1] ** 2,))
    events = drive(Nsga2(DOMAIN, 1, 0, population=10), problem, 120)
    by_generation = {}
    for proposal in proposals(events):
        by_generation.setdefault(proposal.origin, []).append(proposal.genotype)
        if proposal.origin.startswith("nsga2"):
            elements = proposal.genotype[: 2 * LIMIT : 2]
            assert elements == tuple(sorted(elements, key=lambda element: element == "-"))
            scales = proposal.genotype[1 : 2 * LIMIT : 2]
            assert all(s == 1.0 for e, s in zip(elements, scales, strict=True) if e == "-")
    assert all(len(set(genotypes)) == len(genotypes) for genotypes in by_generation.values())


def test_a_scale_that_was_never_varied_is_exactly_initial():
    # 0.0 + (1.0 - 0.0) / (1.9 - 0.0) * (1.9 - 0.0) is not 1.0 in floating point
    genes = tuple(
        replace(gene, low=0.0, high=1.9, spread=None) if "scale" in gene.name else gene
        for gene in DOMAIN.genes
    )
    assert genes[1].from_unit(genes[1].to_unit(1.0)) != 1.0
    domain = replace(DOMAIN, genes=genes, seeds=())
    problem = Problem("length", domain, 1, lambda g: (float(abs(len(hops(g)) - 6)),))
    events = drive(Nsga2(domain, 1, 0, population=8), problem, 80)
    scales = {value for p in proposals(events) for value in p.genotype[1 : 2 * LIMIT : 2]}
    assert not {s for s in scales if s != 1.0 and abs(s - 1.0) < 1e-12}
    assert 1.0 in scales


@pytest.mark.parametrize("seed", range(3))
def test_finds_a_path_that_repeats_and_goes_back(seed):
    # from a, b, c to the path a b a b c c with scale 1.2 throughout
    wanted = list("ababcc")

    def costs(genotype):
        path = hops(genotype)
        wrong = sum(a != b for a, b in itertools.zip_longest(path, wanted))
        scales = [genotype[2 * i + 1] for i in range(LIMIT) if genotype[2 * i] != "-"]
        return (wrong + sum((scale - 1.2) ** 2 for scale in scales),)

    problem = Problem("path", DOMAIN, 1, costs)
    events = drive(Nsga2(DOMAIN, 1, seed, population=24), problem, 1200)
    best = min(trials(events), key=lambda trial: trial.costs)
    assert hops(best.genotype) == wanted
    assert best.costs[0] < 0.1


@pytest.mark.parametrize(
    "sequence",
    [
        HopSequence((0, 2), ((1,), ())),
        HopSequence((0, 2), ((1,), (12,))),
        HopSequence((), ()),
    ],
)
def test_uneven_sequences_are_refused(sequence):
    with pytest.raises(SpaceError, match=r"positions of the sequence differ|spells no sequence"):
        Nsga2(Domain(DOMAIN.genes, (), sequence), 1, 0)


def test_a_sequence_needs_an_empty_choice():
    genes = tuple(replace(gene, empty=None) for gene in DOMAIN.genes)
    with pytest.raises(SpaceError, match="gene 'hop0' of the sequence names no empty choice"):
        Nsga2(replace(DOMAIN, genes=genes), 1, 0)
