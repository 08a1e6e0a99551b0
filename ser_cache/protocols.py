"""Named training protocols: the settings of a study under one name, stored with every run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ser_cache.errors import UnknownNameError
from ser_cache.heads import HeadOptions
from ser_cache.training import TrainingOptions


@dataclass(frozen=True)
class Protocol:
    """How heads are shaped and trained.

    Attributes:
        name: what the run says it followed.
        source: the publication.
        head: shape of the heads.
        training: how they are trained.
    """

    name: str
    source: str
    head: HeadOptions = field(default_factory=HeadOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def config(self) -> dict[str, Any]:
        """Every setting as JSON, so that a run does not depend on what a name means later."""
        return {"name": self.name, "head": asdict(self.head), "training": _listed(asdict(self.training))}


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: what is written must equal what is read back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


PROTOCOLS: dict[str, Protocol] = {
    "dasaro2024": Protocol("dasaro2024", "D'Asaro et al., CLiC-it 2024, sections 3 and 4.2"),
}


def protocol_named(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        UnknownNameError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
