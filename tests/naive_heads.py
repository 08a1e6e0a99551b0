"""The heads again, naively: one utterance at a time, frame by frame, in the papers' own order, in float64.

Nothing here knows of packing, stacks, autograd or torch's optimisers: forward, backward and Adam are written
out in NumPy, so that they share no mistake with what they check. A head is a function of its parameters and
one utterance's states, (layers, frames, width). It gives the logits, (k,), and a function that takes the
gradient of the loss with respect to them and adds up those of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parameters = dict[str, Array]
Backward = Callable[[Array, Parameters], None]
Naive = Callable[[Parameters, Array], tuple[Array, Backward]]
BackwardToFrames = Callable[[Array, Parameters], list[Array]]


def affine(p: Parameters, name: str, x: Array) -> Array:
    return p[f"{name}.weight"] @ x + p[f"{name}.bias"]


def affine_back(p: Parameters, gradients: Parameters, name: str, x: Array, up: Array) -> Array:
    gradients[f"{name}.weight"] += np.outer(up, x)
    gradients[f"{name}.bias"] += up
    return p[f"{name}.weight"].T @ up


def average(vectors: Sequence[Array]) -> Array:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total / len(vectors)


def project_and_pool(p: Parameters, frames: Sequence[Array]) -> tuple[Array, BackwardToFrames]:
    """Linear on every frame, mean over frames, Linear to the classes."""
    pooled = average([affine(p, "project", frame) for frame in frames])
    logits = affine(p, "classify", pooled)

    def backward(up: Array, gradients: Parameters) -> list[Array]:
        each = affine_back(p, gradients, "classify", pooled, up) / len(frames)
        return [affine_back(p, gradients, "project", frame, each) for frame in frames]

    return logits, backward


def two_blocks(p: Parameters, frame: Array) -> tuple[Array, BackwardToFrames]:
    """Linear, ReLU, Linear, ReLU on one frame."""
    first = affine(p, "first", frame)
    between = np.maximum(first, 0)
    second = affine(p, "second", between)

    def backward(up: Array, gradients: Parameters) -> list[Array]:
        inner = affine_back(p, gradients, "second", between, up * (second > 0))
        return [affine_back(p, gradients, "first", frame, inner * (first > 0))]

    return np.maximum(second, 0), backward


def nonlinear_head(p: Parameters, frames: Sequence[Array]) -> tuple[Array, BackwardToFrames]:
    """D'Asaro et al. 2024: two blocks and a Linear on every frame, mean, Linear, ReLU, Linear."""
    blocks = [two_blocks(p, frame) for frame in frames]
    pooled = average([affine(p, "third", states) for states, _ in blocks])
    hidden = affine(p, "pooled", pooled)
    logits = affine(p, "classify", np.maximum(hidden, 0))

    def backward(up: Array, gradients: Parameters) -> list[Array]:
        inner = affine_back(p, gradients, "classify", np.maximum(hidden, 0), up) * (hidden > 0)
        each = affine_back(p, gradients, "pooled", pooled, inner) / len(frames)
        return [
            block(affine_back(p, gradients, "third", states, each), gradients)[0] for states, block in blocks
        ]

    return logits, backward


def pepino_head(p: Parameters, frames: Sequence[Array]) -> tuple[Array, BackwardToFrames]:
    """Pepino et al. 2021: two blocks on every frame, mean, Linear to the classes."""
    blocks = [two_blocks(p, frame) for frame in frames]
    pooled = average([states for states, _ in blocks])
    logits = affine(p, "classify", pooled)

    def backward(up: Array, gradients: Parameters) -> list[Array]:
        each = affine_back(p, gradients, "classify", pooled, up) / len(frames)
        return [block(each, gradients)[0] for _, block in blocks]

    return logits, backward


def softmax_shares(raw: Array) -> tuple[Array, Array]:
    """Shares, and their derivative by the raw weights, (shares, weights)."""
    powers = np.exp(raw)
    shares = powers / powers.sum()
    return shares, np.array(
        [[s * ((i == j) - t) for j, t in enumerate(shares)] for i, s in enumerate(shares)]
    )


def absolute_shares(raw: Array) -> tuple[Array, Array]:
    """Absolute values over their sum, and their derivative by the raw weights, (shares, weights)."""
    total = np.abs(raw).sum()
    shares = np.abs(raw) / total
    by_weight = [
        [np.sign(raw[j]) * ((i == j) - share) / total for j in range(len(raw))]
        for i, share in enumerate(shares)
    ]
    return shares, np.array(by_weight)


Inner = Callable[[Parameters, Sequence[Array]], tuple[Array, BackwardToFrames]]


def on_last_layer(inner: Inner) -> Naive:
    def head(p: Parameters, states: Array) -> tuple[Array, Backward]:
        logits, to_frames = inner(p, list(states[-1]))

        def backward(up: Array, gradients: Parameters) -> None:
            to_frames(up, gradients)

        return logits, backward

    return head


def on_mixed_layers(inner: Inner, share: Callable[[Array], tuple[Array, Array]]) -> Naive:
    def head(p: Parameters, states: Array) -> tuple[Array, Backward]:
        shares, derivative = share(p["mix"])
        frames = []
        for t in range(states.shape[1]):
            mixed = np.zeros(states.shape[2])
            for layer, one in enumerate(shares):
                mixed = mixed + one * states[layer, t]
            frames.append(mixed)
        logits, to_frames = inner(p, frames)

        def backward(up: Array, gradients: Parameters) -> None:
            by_share = np.zeros(len(shares))
            for t, by_frame in enumerate(to_frames(up, gradients)):
                for layer in range(len(shares)):
                    by_share[layer] += by_frame @ states[layer, t]
            gradients["mix"] += by_share @ derivative

        return logits, backward

    return head


NAIVE: dict[str, Naive] = {
    "linear": on_last_layer(project_and_pool),
    "nonlinear": on_last_layer(nonlinear_head),
    "multilayer": on_mixed_layers(nonlinear_head, softmax_shares),
    "superb": on_mixed_layers(project_and_pool, softmax_shares),
    "pepino": on_mixed_layers(pepino_head, absolute_shares),
}


@dataclass(frozen=True)
class AdamSettings:
    """Of Adam with coupled weight decay: the decay is added to the gradient."""

    rate: float
    decay: float
    betas: tuple[float, float]
    epsilon: float


def loss_and_gradients(
    head: Naive, p: Parameters, batch: Sequence[tuple[Array, int]]
) -> tuple[float, Parameters]:
    """Mean cross-entropy over a batch of (states, class), and its gradients."""
    gradients = {name: np.zeros_like(value) for name, value in p.items()}
    loss = 0.0
    for states, truth in batch:
        logits, backward = head(p, states)
        powers = np.exp(logits - logits.max())
        probabilities = powers / powers.sum()
        loss -= float(np.log(probabilities[truth])) / len(batch)
        up = probabilities.copy()
        up[truth] -= 1
        backward(up / len(batch), gradients)
    return loss, gradients


def train(
    head: Naive, start: Parameters, batches: Sequence[Sequence[tuple[Array, int]]], adam: AdamSettings
) -> Parameters:
    """The parameters after one step of Adam on every batch."""
    p = {name: value.astype(np.float64) for name, value in start.items()}
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    first, second = adam.betas
    for step, batch in enumerate(batches, start=1):
        _, gradients = loss_and_gradients(head, p, batch)
        for name, value in p.items():
            gradient = gradients[name] + adam.decay * value
            mean[name] = first * mean[name] + (1 - first) * gradient
            square[name] = second * square[name] + (1 - second) * gradient**2
            estimate = mean[name] / (1 - first**step)
            scale = np.sqrt(square[name] / (1 - second**step)) + adam.epsilon
            p[name] = value - adam.rate * estimate / scale
    return p
