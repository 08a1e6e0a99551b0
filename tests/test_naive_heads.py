"""Every registered head against its naive twin: the same logits, and the same parameters after training."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from naive_heads import NAIVE, AdamSettings, loss_and_gradients, train

from ser_cache.heads import HEADS, HeadOptions
from ser_cache.packing import PackedFeatures, Segments
from ser_cache.stacks import Model
from ser_cache.training import Sides, TrainingOptions, batch_order, fit

LAYERS, WIDTH, CLASSES, HIDDEN, BATCH, STEPS = 4, 12, 3, 8, 6, 20
MIXING = ("multilayer", "superb", "pepino")
ADAM = AdamSettings(rate=2e-3, decay=1e-2, betas=(0.9, 0.98), epsilon=1e-8)


@dataclass
class Own:
    """One head as the package trains it; nothing else in this file knows how heads are built and fed."""

    name: str
    seed: int = 0

    def build(self):
        layers = LAYERS if self.name in MIXING else 1
        shape = HeadOptions(hidden=HIDDEN, dropout=0.0)
        return HEADS[self.name](layers, WIDTH, CLASSES, shape, [self.seed])

    def start(self):
        """Freshly drawn parameters by name."""
        return {name: value.double().numpy() for name, value in self.build().state_of(0).items()}

    def logits(self, parameters, utterances):
        """In fp32, all utterances packed into one batch, (utterances, k)."""
        head = self.build().eval()
        head.restore([{name: torch.from_numpy(value).float() for name, value in parameters.items()}])
        frames = torch.from_numpy(np.concatenate(utterances, axis=1)).float()
        lengths = [states.shape[1] for states in utterances]
        with torch.no_grad():
            segments = Segments(lengths, torch.float32, torch.device("cpu"))
            return head.classify_layers(frames, segments)[0].numpy()

    def trained(self, utterances, labels, sides):
        """Parameters after one epoch of float64, trained beside another model."""
        frames = torch.from_numpy(np.concatenate(utterances, axis=1))
        lengths = np.array([states.shape[1] for states in utterances])
        source = PackedFeatures(frames, lengths, dtype=torch.float64)
        options = TrainingOptions(
            epochs=1,
            batch_size=BATCH,
            learning_rate=ADAM.rate,
            weight_decay=ADAM.decay,
            betas=ADAM.betas,
            epsilon=ADAM.epsilon,
        )
        places = tuple(range(LAYERS)) if self.name in MIXING else (LAYERS - 1,)
        shape = HeadOptions(hidden=HIDDEN, dropout=0.0)
        models = [Model(str(s), HEADS[self.name], shape, s, places) for s in (self.seed, self.seed + 1)]
        return fit(source, labels, sides, models, options, "key")[str(self.seed)].weights


def utterances(count, seed=0, longest=9):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(LAYERS, int(n), WIDTH)) for n in rng.integers(1, longest + 1, count)]


def parameters_of(name, rng):
    """Any parameters of the right names and shapes, the layers' weights unequal and of both signs."""
    shapes = {"classify": (CLASSES, HIDDEN)}
    if name in ("linear", "superb"):
        shapes["project"] = (HIDDEN, WIDTH)
    else:
        shapes |= {"first": (HIDDEN, WIDTH), "second": (HIDDEN, HIDDEN)}
    if name in ("nonlinear", "multilayer"):
        shapes |= {"third": (HIDDEN, HIDDEN), "pooled": (HIDDEN, HIDDEN)}
    found = {f"{layer}.weight": rng.normal(size=shape) for layer, shape in shapes.items()}
    found |= {f"{layer}.bias": rng.normal(size=shape[0]) for layer, shape in shapes.items()}
    return found | ({"mix": np.array([0.3, -1.0, 0.7, 0.1])} if name in MIXING else {})


def test_every_registered_head_has_a_naive_twin():
    assert set(HEADS) <= set(NAIVE)


@pytest.mark.parametrize("name", NAIVE)
def test_the_naive_gradients_are_the_slopes_of_the_naive_loss(name):
    """Central differences: the twin's own backward pass must not be taken on trust."""
    rng = np.random.default_rng(1)
    p = parameters_of(name, rng)
    batch = [(states, place % CLASSES) for place, states in enumerate(utterances(3, longest=3))]
    _, gradients = loss_and_gradients(NAIVE[name], p, batch)
    assert gradients.keys() == p.keys()
    for key, value in p.items():
        for place in rng.permutation(value.size)[:12]:
            slope = 0.0
            for sign in (1, -1):
                moved = value.copy()
                moved.flat[place] += sign * 1e-6
                slope += sign * loss_and_gradients(NAIVE[name], p | {key: moved}, batch)[0] / 2e-6
            assert gradients[key].flat[place] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_gives_the_logits_of_its_naive_twin(name):
    own, spoken = Own(name), utterances(15, longest=40)
    p = own.start()
    assert p.keys() == parameters_of(name, np.random.default_rng(0)).keys()
    if "mix" in p:
        p["mix"] = np.array([0.3, -1.0, 0.7, 0.1])
    expected = [NAIVE[name](p, states)[0] for states in spoken]
    np.testing.assert_allclose(own.logits(p, spoken), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_twenty_steps_leave_a_head_with_the_parameters_of_its_naive_twin(name):
    count = BATCH * STEPS
    spoken = utterances(count + 20)
    labels = np.arange(len(spoken)) % CLASSES
    places = np.arange(len(spoken))
    sides = Sides(places[:count], places[count : count + 10], places[count + 10 :])
    own = Own(name, seed=4)
    order = sides.train[batch_order("key", 1, count)]
    batches = [
        [(spoken[place], int(labels[place])) for place in order[start : start + BATCH]]
        for start in range(0, count, BATCH)
    ]
    expected = train(NAIVE[name], own.start(), batches, ADAM)
    found = own.trained(spoken, labels, sides)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.abs(value - own.start()[key]).max() > ADAM.rate, f"{key} hardly moved"
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-9)
