"""What features were made from and how they are stored: the key that keeps stale features from being used."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ser_cache.files import canonical_json, sha256_of_value


@dataclass(frozen=True)
class Fingerprint:
    """Two halves, both JSON. Library versions and device are not in it: they are recorded, not compared.

    Attributes:
        features: what makes the features: weights' hash and revision, preprocessing, context, precision, ...
        storage: how they are kept: codec, layers, tier, frame averaging, schema.
    """

    features: Mapping[str, Any]
    storage: Mapping[str, Any]

    def __post_init__(self) -> None:
        # Through JSON and back, so that a tuple from an option equals the list read from a file.
        object.__setattr__(self, "features", json.loads(canonical_json(dict(self.features))))
        object.__setattr__(self, "storage", json.loads(canonical_json(dict(self.storage))))

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of both halves' canonical JSON."""
        return sha256_of_value({"features": self.features, "storage": self.storage})

    @property
    def short(self) -> str:
        """The first twelve digits of the digest, for the screen."""
        return self.digest[:12]

    @property
    def layers(self) -> tuple[int, ...]:
        """The stored layers, ascending."""
        return tuple(self.storage["layers"])

    def to_json(self) -> str:
        """Both halves as canonical JSON."""
        return canonical_json({"features": self.features, "storage": self.storage})

    @classmethod
    def from_json(cls, text: str) -> "Fingerprint":
        """The inverse of `to_json`."""
        value = json.loads(text)
        return cls(value["features"], value["storage"])


def differences(
    cached: Fingerprint, asked: Fingerprint, names: tuple[str, str] = ("cache", "asked")
) -> list[str]:
    """Each setting in which two fingerprints differ, readable: ``context: cache 'audio', asked 'full'``.

    Args:
        cached: the one.
        asked: the other.
        names: what to call them.
    """
    ours, theirs = dict(_flat(cached)), dict(_flat(asked))
    return [
        f"{key}: {names[0]} {_shown(ours, key)}, {names[1]} {_shown(theirs, key)}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key, _ABSENT) != theirs.get(key, _ABSENT)
    ]


def serves(cached: Fingerprint, asked: Fingerprint) -> bool:
    """Whether features made under ``cached`` answer a request for ``asked``.

    The features' half must be equal, and the storage too, but for the layers: a superset of them serves. Time
    means and deviations are taken before any codec or averaging, so whatever has frames serves the pooled
    tier.
    """
    if cached.features != asked.features or not set(asked.layers) <= set(cached.layers):
        return False
    if asked.storage["tier"] == "pooled" and cached.storage["schema"] == asked.storage["schema"]:
        return True
    return _without_layers(cached) == _without_layers(asked)


_ABSENT = object()  # never equal to a JSON value, so that a missing key differs from a null one
_SHOWN_LENGTH, _SHOWN_DIGITS = 60, 13


def _shown(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "nothing"
    text = repr(values[key])
    # A hash is recognised by its first digits; all of them would hide the rest of the line.
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_DIGITS]}...{text[-1]}"


def _without_layers(fingerprint: Fingerprint) -> dict[str, Any]:
    return {key: value for key, value in fingerprint.storage.items() if key != "layers"}


def _flat(fingerprint: Fingerprint) -> Iterator[tuple[str, Any]]:
    for half in (fingerprint.features, fingerprint.storage):
        yield from _flatten(half, "")


def _flatten(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flatten(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
