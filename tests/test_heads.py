"""Heads against a naive re-implementation: one utterance at a time, plain loops, the paper's own order."""

import hashlib
import math

import numpy as np
import pytest
import torch

from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.heads import HEADS, HeadOptions, head_kind
from ser_cache.mixing import gradient_of_shares, mix
from ser_cache.packing import PackedFeatures, Segments, StreamedFeatures, views_into
from ser_cache.stacked_layers import Dropout, ReluDropout

LENGTHS = [3, 1, 7, 2]
LAYERS, WIDTH, CLASSES = 4, 6, 3


def frames(dtype=torch.float32, layers=LAYERS):
    return torch.randn(layers, sum(LENGTHS), WIDTH, generator=torch.Generator().manual_seed(5), dtype=dtype)


def segments(dtype=torch.float32, lengths=LENGTHS):
    return Segments(lengths, dtype, torch.device("cpu"))


MIXING = [name for name, kind in HEADS.items() if kind.mixes]


def build(name, seeds=(0,), layers=LAYERS, **options):
    return HEADS[name](layers, WIDTH, CLASSES, HeadOptions(hidden=5, **options), seeds).eval()


def one(head, states, segments):
    """Logits of a stack of one, (utterances, k)."""
    return head.classify_layers(states, segments)[0]


def affine(weights, name, vector):
    matrix, bias = weights[f"{name}.weight"].tolist(), weights[f"{name}.bias"].tolist()
    return [
        sum(m * v for m, v in zip(row, vector, strict=True)) + b for row, b in zip(matrix, bias, strict=True)
    ]


def average(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def relu(vector):
    return [max(0.0, value) for value in vector]


def naive(name, weights, states):
    """Logits of one utterance; ``states`` is (layers, frames, width) as nested lists."""
    last = states[-1]
    if name in MIXING:
        act = abs if name == "pepino" else math.exp
        powers = [act(value) for value in weights["mix"].tolist()]
        shares = [power / sum(powers) for power in powers]
        last = [
            [
                sum(share * layer[t][c] for share, layer in zip(shares, states, strict=True))
                for c in range(WIDTH)
            ]
            for t in range(len(last))
        ]
    if name in ("linear", "superb"):
        return affine(weights, "classify", average([affine(weights, "project", frame) for frame in last]))
    if name == "pepino":
        second = [relu(affine(weights, "second", relu(affine(weights, "first", frame)))) for frame in last]
        return affine(weights, "classify", average(second))
    third = [
        affine(weights, "third", relu(affine(weights, "second", relu(affine(weights, "first", frame)))))
        for frame in last
    ]
    return affine(weights, "classify", relu(affine(weights, "pooled", average(third))))


@pytest.mark.parametrize("name", HEADS)
def test_packed_logits_equal_a_plain_loop_over_utterances(name):
    head = build(name)
    if head.mixes:
        with torch.no_grad():
            head.mix.copy_(torch.tensor([[0.3, -1.0, 0.7, 0.1]]))
    packed = frames()
    logits = one(head, packed.clone(), segments())
    weights = head.state_of(0)
    for utterance, states in enumerate(torch.split(packed, LENGTHS, dim=1)):
        expected = naive(name, weights, states.tolist())
        np.testing.assert_allclose(logits[utterance].tolist(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_an_utterance_is_classified_the_same_alone_and_in_company(name):
    head = build(name).double()
    packed = frames(torch.float64)
    together = one(head, packed.clone(), segments(torch.float64))
    for utterance, states in enumerate(torch.split(packed, LENGTHS, dim=1)):
        alone = one(head, states.clone(), segments(torch.float64, [LENGTHS[utterance]]))
        torch.testing.assert_close(alone[0], together[utterance], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, kind in HEADS.items() if kind.pools_first])
def test_a_head_that_pools_first_is_the_same_from_means_and_from_frames(name):
    head = build(name).double()
    packed = frames(torch.float64)
    means = torch.stack([states.mean(dim=1) for states in torch.split(packed, LENGTHS, dim=1)], dim=1)
    from_means = one(head, means, segments(torch.float64, [1] * len(LENGTHS)))
    torch.testing.assert_close(from_means, one(head, packed, segments(torch.float64)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", HEADS)
def test_a_seed_fixes_a_head_whatever_ran_before(name):
    torch.manual_seed(1)
    first = build(name, [3]).state_of(0)
    torch.manual_seed(2)
    build(name, [4])
    again, other = build(name, [3]).state_of(0), build(name, [4]).state_of(0)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classify.weight"], other["classify.weight"])


def test_initialisation_is_torchs_own_in_range_and_spread():
    weight = HEADS["nonlinear"](1, 400, 7, HeadOptions(hidden=256), [0]).first.weight.detach()
    bound = 1 / math.sqrt(400)
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_heads_read_the_layers_of_the_paper():
    cached = (0, 1, 2, 3)
    assert HEADS["linear"].reads(cached) == HEADS["nonlinear"].reads(cached) == (3,)
    assert HEADS["multilayer"].reads(cached) == (1, 2, 3)
    assert HEADS["multilayer"].reads((1,)) == (1,)
    with pytest.raises(TrainingError, match="layer above 0"):
        HEADS["multilayer"].reads((0,))


def test_layer_weights_start_equal_and_sum_to_one():
    for name in HEADS:
        shares = build(name, seeds=(0, 1)).shares()
        assert (shares is not None) == (name in MIXING)
        assert shares is None or shares.tolist() == [[0.25] * 4] * 2


def test_the_layers_that_heads_mix_are_those_of_their_papers():
    assert HEADS["superb"].reads((0, 1, 2)) == HEADS["pepino"].reads((0, 1, 2)) == (0, 1, 2)


@pytest.mark.parametrize("name", HEADS)
def test_a_model_is_the_same_in_any_stack(name):
    stack = build(name, (2, 0, 1), dropout=0.3).train()
    together = stack.classify_layers(frames(), segments())
    for place, seed in enumerate((2, 0, 1)):
        alone = build(name, (seed,), dropout=0.3).train()
        assert torch.equal(one(alone, frames(), segments()), together[place])
        for key, value in alone.state_of(0).items():
            assert torch.equal(value, stack.state_of(place)[key])


@pytest.mark.parametrize("name", HEADS)
def test_a_stack_takes_the_states_it_gave(name):
    stack = build(name, (0, 1))
    other = build(name, (5, 6))
    other.restore([stack.state_of(0), stack.state_of(1)])
    given = stack.classify_layers(frames(), segments())
    assert torch.equal(other.classify_layers(frames(), segments()), given)
    with pytest.raises(ValueError, match="1 states for a stack of 2 models"):
        other.restore([stack.state_of(0)])
    with pytest.raises(ValueError, match="is missing, or of another shape"):
        other.restore([{}, {}])


def test_every_model_of_a_stack_may_be_fed_its_own_layer():
    stack = build("linear", (0, 1))
    fed = frames()[[3, 1]]
    logits = stack(fed, segments())
    for place in range(2):
        alone = build("linear", (place,))
        torch.testing.assert_close(alone(fed[place : place + 1], segments())[0], logits[place])


@pytest.mark.parametrize("chunk", [65_536, 1_000])
def test_shares_that_are_mixed_together_are_mixed_as_alone(monkeypatch, chunk):
    """Bit for bit, as is their gradient, also in pieces: else a result would depend on its company."""
    monkeypatch.setattr("ser_cache.mixing._CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(5, 300, 64, generator=generator)
    shares = torch.softmax(torch.randn(4, 5, generator=generator), dim=1)
    gradients = torch.randn(4, 300, 64, generator=generator)
    mixed = mix(states, shares)
    passed = gradient_of_shares(states, list(gradients))
    for place in range(4):
        assert torch.equal(mix(states, shares[place : place + 1])[0], mixed[place])
        assert torch.equal(gradient_of_shares(states, [gradients[place]])[0], passed[place])
    torch.testing.assert_close(mixed, torch.einsum("sl,ltd->std", shares, states))
    torch.testing.assert_close(passed, torch.einsum("std,ltd->sl", gradients, states), rtol=1e-4, atol=1e-3)


def test_dropout_drops_its_share_keeps_the_mean_and_masks_the_gradient():
    layer = ReluDropout(0.3, [0]).train()
    inputs = torch.ones(1, 400, 251, requires_grad=True)
    outputs = layer(inputs * 2)
    kept = outputs > 0
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.01)
    assert float(outputs.detach().mean()) == pytest.approx(2.0, abs=0.03)
    outputs.sum().backward()
    assert torch.equal(inputs.grad > 0, kept)
    torch.testing.assert_close(
        inputs.grad[kept].unique(), torch.tensor([2 * layer.scale], dtype=torch.float32)
    )


def test_relu_dropout_differentiates_like_relu_times_mask():
    torch.manual_seed(0)
    raw = torch.randn(2, 20, 8, dtype=torch.float64, requires_grad=True)
    outputs = ReluDropout(0.5, [1, 2]).train()(raw * 1.0)
    keep = ReluDropout(0.5, [1, 2])._keep(raw)
    expected = torch.relu(raw) * keep * 2
    torch.testing.assert_close(outputs, expected)
    upstream = torch.randn(2, 20, 8, dtype=torch.float64)
    (ours,) = torch.autograd.grad(outputs, raw, upstream)
    (reference,) = torch.autograd.grad(expected, raw, upstream)
    torch.testing.assert_close(ours, reference)


def test_dropout_draws_from_its_own_seed():
    for kind in (Dropout, ReluDropout):
        first, second, other = (kind(0.5, [seed]).train() for seed in (1, 1, 2))
        torch.manual_seed(9)
        drawn = first(torch.ones(1, 50, 7))
        torch.rand(5)
        assert torch.equal(drawn, second(torch.ones(1, 50, 7)))
        assert not torch.equal(drawn, other(torch.ones(1, 50, 7)))
        assert not torch.equal(drawn, first(torch.ones(1, 50, 7)))
        assert torch.equal(kind(0.5, [1]).eval()(torch.ones(1, 3, 2)), torch.ones(1, 3, 2))
        assert torch.equal(kind(0.0, [1]).train()(torch.ones(1, 3, 2)), torch.ones(1, 3, 2))


def test_what_models_share_is_dropped_for_each_apart():
    dropped = Dropout(0.5, [0, 1]).train()(torch.ones(1, 20, 6))
    assert dropped.shape == (2, 20, 6)
    assert not torch.equal(dropped[0], dropped[1])
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_dropout_bits_stay_what_they_were():
    """Golden: a new library that drew other bits would change every trained result."""
    keep = ReluDropout(0.5, [0])._keep(torch.empty(1, 64))
    assert hashlib.sha256(keep.numpy().tobytes()).hexdigest()[:16] == "41413b0d132b0474"


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_an_impossible_dropout_is_refused(probability):
    with pytest.raises(TrainingError, match="impossible"):
        ReluDropout(probability, [0])


def test_an_unknown_head_lists_the_known_ones():
    with pytest.raises(
        UnknownNameError, match=r"Did you mean 'multilayer'\?.*linear, multilayer, nonlinear, pepino, superb"
    ):
        head_kind("multi-layer")


def test_empty_utterances_cannot_be_packed():
    with pytest.raises(ValueError, match="without frames"):
        segments(lengths=[3, 0])
    with pytest.raises(ValueError, match="frames for utterances"):
        PackedFeatures(torch.zeros(1, 5, 2), np.array([3, 3]))


@pytest.mark.parametrize("stored", [np.float16, np.float32])
def test_both_sources_gather_the_same_batches(stored):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 12)
    states = [rng.normal(size=(2, int(n), 5)).astype(stored) for n in lengths]
    for array in states:
        array.flags.writeable = False  # as a memory map's are
    viewed = StreamedFeatures(views_into(states.__getitem__), lengths, layers=2, width=5)
    packed = PackedFeatures(torch.from_numpy(np.concatenate(states, axis=1)), lengths)
    for indices in ([3, 0, 7], [11], [4, 5, 6, 7, 8, 9, 10, 11, 0, 1], [2, 2]):
        chosen = np.array(indices)
        expected = np.concatenate([states[i] for i in indices], axis=1).astype(np.float32)
        for source in (viewed, packed):
            batch = source.batch(chosen)
            np.testing.assert_array_equal(batch.frames.numpy(), expected)
            assert batch.segments.lengths.tolist() == lengths[chosen].tolist()
            means = batch.segments.mean(batch.frames[1])
            naive_means = [states[i][1].astype(np.float64).mean(axis=0) for i in indices]
            np.testing.assert_allclose(means.numpy(), naive_means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_a_frame_that_stands_for_several_counts_as_that_many(head):
    lengths, sizes = [3, 1, 4], np.array([4, 4, 1, 3, 4, 4, 4, 2])
    groups = torch.randn(LAYERS, 8, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    repeated = groups.repeat_interleave(torch.from_numpy(sizes), dim=1)
    model = build(head).double()
    averaged = one(model, groups, Segments(lengths, torch.float64, torch.device("cpu"), sizes))
    every = one(model, repeated, segments(torch.float64, [9, 3, 14]))
    torch.testing.assert_close(averaged, every)


def test_both_sources_know_how_many_frames_each_stands_for():
    rng = np.random.default_rng(0)
    sizes = [np.array([4, 4, 1]), np.array([3]), np.array([4, 2])]
    lengths = np.array([len(one) for one in sizes])
    states = [rng.normal(size=(1, len(one), 5)).astype(np.float32) for one in sizes]
    viewed = StreamedFeatures(
        views_into(states.__getitem__), lengths, layers=1, width=5, sizes=sizes.__getitem__
    )
    packed = PackedFeatures(torch.from_numpy(np.concatenate(states, axis=1)), lengths, np.concatenate(sizes))
    for indices in ([2, 0], [1], [0, 1, 2]):
        expected = [np.average(states[i][0], axis=0, weights=sizes[i]) for i in indices]
        for source in (viewed, packed):
            batch = source.batch(np.array(indices))
            np.testing.assert_allclose(batch.segments.mean(batch.frames[0]), expected, rtol=1e-5)
