"""Training against a plain loop, alone and in company, twice, and on data that cannot be trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from ser_cache.environment import environment
from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.heads import HEADS, HeadOptions
from ser_cache.metrics import score
from ser_cache.packing import PackedFeatures, StreamedFeatures, views_into
from ser_cache.protocols import PROTOCOLS, protocol_named
from ser_cache.stacks import Model
from ser_cache.training import Sides, TrainingOptions, batch_order, fit

CLASSES, WIDTH, LAYERS = 3, 6, 2
QUICK = TrainingOptions(epochs=4, batch_size=8, learning_rate=5e-3)


def material(count=50, seed=0):
    """Utterances whose class moves their mean, in random lengths: states, lengths, labels, sides."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    lengths = rng.integers(1, 9, count)
    centres = rng.normal(size=(CLASSES, WIDTH))
    states = [
        (rng.normal(size=(LAYERS, n, WIDTH)) + centres[c]).astype(np.float32)
        for n, c in zip(lengths, labels, strict=True)
    ]
    places = rng.permutation(count)
    cut, last = int(0.6 * count), int(0.8 * count)
    return states, lengths, labels, Sides(places[:cut], places[cut:last], places[last:])


def source_of(states, lengths, dtype=torch.float32):
    return PackedFeatures(torch.from_numpy(np.concatenate(states, axis=1)), lengths, dtype=dtype)


def model(name="nonlinear", seed=0, called=None, rate=None, place=LAYERS - 1, **options):
    places = tuple(range(LAYERS)) if HEADS[name].mixes else (place,)
    shape = HeadOptions(hidden=8, **options)
    return Model(called or f"{name} {seed}", HEADS[name], shape, seed, places, rate)


def run(name="nonlinear", seeds=(0,), options=QUICK, key="0", **head_options):
    """Results by seed."""
    states, lengths, labels, sides = material()
    models = [model(name, seed, **head_options) for seed in seeds]
    results = fit(source_of(states, lengths), labels, sides, models, options, key)
    return dict(zip(seeds, results.values(), strict=True))


def same(first, second):
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])
    np.testing.assert_array_equal(first.test_scores, second.test_scores)
    for ours, theirs in zip(first.log, second.log, strict=True):
        assert replace(ours, seconds=0) == replace(theirs, seconds=0)


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_gives_the_same_model_bit_for_bit(name):
    same(run(name)[0], run(name)[0])


@pytest.mark.parametrize("name", HEADS)
def test_a_model_is_the_same_alone_and_in_company(name):
    together = run(name, seeds=(2, 0, 1))
    for seed in range(3):
        same(together[seed], run(name, seeds=(seed,))[seed])


def test_seeds_and_orders_make_a_difference():
    first, second = run(seeds=(0, 1)).values()
    assert not np.array_equal(first.test_scores, second.test_scores)
    assert not np.array_equal(first.test_scores, run(key="1")[0].test_scores)


@pytest.mark.parametrize("name", HEADS)
def test_parameters_equal_a_plain_training_loop_in_float64(name):
    """Twenty steps of Adam written out, one utterance at a time, dropout 0."""
    states, lengths, labels, sides = material(200)
    options = TrainingOptions(epochs=1, batch_size=6, learning_rate=2e-3, weight_decay=1e-2)
    trained = model(name, seed=4, dropout=0.0)
    drawn = HEADS[name](len(trained.places), WIDTH, CLASSES, trained.options, [4]).double().state_of(0)
    parameters = {k: v.requires_grad_() for k, v in drawn.items()}
    first = {k: torch.zeros_like(v) for k, v in parameters.items()}
    second = {k: torch.zeros_like(v) for k, v in parameters.items()}
    order = sides.train[batch_order("0", 1, len(sides.train))]
    assert len(order) == 120
    for step in range(1, 21):
        chosen = order[(step - 1) * 6 : step * 6]
        logits = torch.stack([plain(name, parameters, torch.from_numpy(states[i]).double()) for i in chosen])
        loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for key, raw in zip(parameters, gradients, strict=True):
                gradient = raw + options.weight_decay * parameters[key]
                first[key] = 0.9 * first[key] + 0.1 * gradient
                second[key] = 0.98 * second[key] + 0.02 * gradient**2
                estimate = first[key] / (1 - 0.9**step)
                scale = (second[key] / (1 - 0.98**step)).sqrt() + options.epsilon
                parameters[key] -= options.learning_rate * estimate / scale
    (result,) = fit(
        source_of(states, lengths, torch.float64), labels, sides, [trained], options, "0"
    ).values()
    for key, value in parameters.items():
        np.testing.assert_allclose(result.weights[key], value.detach().numpy(), rtol=0, atol=1e-9)


def plain(name, p, states):
    def affine(layer, x):
        return x @ p[f"{layer}.weight"].T + p[f"{layer}.bias"]

    x = states[-1]
    if "mix" in p:
        shares = p["mix"].abs() / p["mix"].abs().sum() if name == "pepino" else torch.softmax(p["mix"], 0)
        x = sum(share * layer for share, layer in zip(shares, states, strict=True))
    if name in ("linear", "superb"):
        return affine("classify", affine("project", x).mean(dim=0))
    if name == "pepino":
        return affine("classify", torch.relu(affine("second", torch.relu(affine("first", x)))).mean(dim=0))
    x = affine("third", torch.relu(affine("second", torch.relu(affine("first", x))))).mean(dim=0)
    return affine("classify", torch.relu(affine("pooled", x)))


def test_training_learns_what_is_there():
    states, lengths, labels, sides = material(150)
    options = replace(QUICK, epochs=10)
    result = fit(source_of(states, lengths), labels, sides, [model(called="m")], options, "0")["m"]
    found = score(labels[sides.test], result.test_scores.argmax(axis=1), list("abc"))
    assert found.macro_f1 > 0.8
    assert result.log[-1].train_loss < result.log[0].train_loss


def test_the_first_epoch_with_the_best_validation_score_is_kept_and_tested():
    states, lengths, labels, sides = material()
    source = source_of(states, lengths)
    options = replace(QUICK, epochs=8)
    result = fit(source, labels, sides, [model(called="m")], options, "0")["m"]
    scores = [entry.validation_macro_f1 for entry in result.log]
    assert [entry.epoch for entry in result.log] == list(range(1, 9))
    assert result.best_epoch == scores.index(max(scores)) + 1
    stopped = fit(
        source, labels, sides, [model(called="m")], replace(options, epochs=result.best_epoch), "0"
    )["m"]
    np.testing.assert_array_equal(stopped.test_scores, result.test_scores)


def test_scores_are_probabilities_in_the_order_of_the_test_side():
    states, lengths, labels, sides = material()
    source = source_of(states, lengths)
    result = fit(source, labels, sides, [model(called="m")], QUICK, "0")["m"]
    np.testing.assert_allclose(result.test_scores.sum(axis=1), 1)
    turned = replace(sides, test=sides.test[::-1])
    again = fit(source, labels, turned, [model(called="m")], QUICK, "0")["m"]
    np.testing.assert_allclose(again.test_scores[::-1], result.test_scores, atol=1e-6)


def test_frames_in_memory_and_in_a_map_train_the_same_model():
    states, lengths, labels, sides = material()
    halves = [array.astype(np.float16) for array in states]
    packed = PackedFeatures(torch.from_numpy(np.concatenate(halves, axis=1)), lengths)
    viewed = StreamedFeatures(views_into(halves.__getitem__), lengths, LAYERS, WIDTH)
    results = [
        fit(source, labels, sides, [model("multilayer", called="m")], QUICK, "0")["m"]
        for source in (packed, viewed)
    ]
    same(*results)


def test_evaluation_in_several_batches_changes_nothing(monkeypatch):
    whole = run()[0]
    monkeypatch.setattr("ser_cache.training.EVALUATION_FRAMES", 3)
    parts = run()[0]
    np.testing.assert_allclose(parts.test_scores, whole.test_scores, atol=1e-6)


def test_layer_weights_of_the_best_epoch_are_reported():
    result = run("multilayer")[0]
    mix = torch.from_numpy(result.weights["mix"])
    np.testing.assert_allclose(result.layer_weights, torch.softmax(mix, 0).numpy())
    assert not np.allclose(result.layer_weights, 0.5, atol=1e-6)
    assert run()[0].layer_weights is None


def test_a_loss_that_is_not_finite_names_the_model_the_epoch_and_the_rate():
    with pytest.raises(TrainingError, match="not finite in epoch 1 at learning rate 1e\\+30"):
        run(options=replace(QUICK, learning_rate=1e30))
    states, lengths, labels, sides = material()
    states[sides.train[0]][-1, 0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"^multi 7: the loss is not finite in epoch 1"):
        fit(source_of(states, lengths), labels, sides, [model(called="multi 7")], QUICK, "0")


def test_scores_that_are_not_finite_are_refused_and_not_taken_for_the_first_class():
    states, lengths, labels, sides = material()
    states[sides.test[3]][-1, 0, 0] = np.inf
    with pytest.raises(TrainingError, match=r"^m: scores of the test side are not finite"):
        fit(source_of(states, lengths), labels, sides, [model("linear", called="m")], QUICK, "0")


def test_a_class_without_training_utterances_is_refused():
    states, lengths, labels, sides = material()
    train = sides.train[labels[sides.train] != 1]
    rest = np.setdiff1d(np.arange(50), np.concatenate([train, sides.test]))
    with pytest.raises(TrainingError, match="class number 1 has no training utterance"):
        fit(
            source_of(states, lengths),
            labels,
            Sides(train, rest, sides.test),
            [model(called="m")],
            QUICK,
            "0",
        )
    empty = replace(sides, test=sides.test[:0])
    with pytest.raises(TrainingError, match="the test side is empty"):
        fit(source_of(states, lengths), labels, empty, [model(called="m")], QUICK, "0")


def test_the_order_of_batches_is_fixed_for_good():
    assert sorted(batch_order("a", 1, 100)) == list(range(100))
    assert batch_order("loso:s1", 1, 8).tolist() == GOLDEN_ORDER
    assert batch_order("loso:s1", 2, 8).tolist() != GOLDEN_ORDER


GOLDEN_ORDER = [1, 0, 5, 6, 2, 7, 3, 4]


def test_small_batches_use_one_thread_and_leave_the_number_as_it_was():
    states, lengths, labels, sides = material()
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        tell = lambda _: seen.append(torch.get_num_threads())  # noqa: E731 - one expression, used twice
        fit(source_of(states, lengths), labels, sides, [model(called="m")], QUICK, "0", tell)
        many = replace(QUICK, batch_size=500)
        fit(source_of(states, lengths), labels, sides, [model(called="m")], many, "0", tell)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1] * 4 + [2] * 4


def test_progress_is_told_every_epoch():
    states, lengths, labels, sides = material()
    told = []
    fit(source_of(states, lengths), labels, sides, [model(called="m")], QUICK, "0", told.append)
    assert told == [1, 2, 3, 4]


def test_the_environment_is_named():
    found = environment(torch.device("cpu"))
    assert found["torch"] == torch.__version__
    assert json.loads(json.dumps(found)) == found


def test_the_papers_protocol_has_the_papers_settings():
    config = protocol_named("dasaro2024").config()
    papers = {
        "epochs": 30,
        "learning_rate": 5e-4,
        "weight_decay": 1e-4,
        "betas": [0.9, 0.98],
        "epsilon": 1e-8,
        "batch_size": 32,
    }
    assert papers.items() <= config["training"].items()
    assert config["training"]["schedule"]["name"] == "none"
    assert config["standardise"] == "none"
    assert config["head"] == {"hidden": 256, "dropout": 0.1}
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
    with pytest.raises(UnknownNameError, match="dasaro2024"):
        protocol_named("dasaro")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", HEADS)
def test_a_gpu_trains_much_the_same_model_twice_the_same(name):
    states, lengths, labels, sides = material()
    device = torch.device("cuda")
    frames = torch.from_numpy(np.concatenate(states, axis=1)).to(device)
    source = PackedFeatures(frames, lengths)
    same(*(fit(source, labels, sides, [model(name, called="m")], QUICK, "0")["m"] for _ in range(2)))
