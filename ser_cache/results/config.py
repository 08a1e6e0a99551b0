"""What makes a run what it is: the choices, the data they were applied to, and the name that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ser_cache.errors import ResultsError
from ser_cache.files import sha256_of_value

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance
    from ser_cache.splits import Split

SCHEMA = 1
"""Of the run folder. A folder with a higher number was written by a newer version and is not read."""


_OF_SOME_RUNS = ("emotions", "trained_on", "tested_on")


@dataclass(frozen=True)
class RunData:
    """What the choices were applied to; where it differs, a run is stale.

    Attributes:
        fingerprint: digest of the cached features.
        manifest: digest of ids, labels, speakers and audio hashes of the utterances used.
        splits: digest of who was on which side.
    """

    fingerprint: str
    manifest: str
    splits: str


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the result of a run, but for machine and library versions.

    Attributes:
        corpus: name of the corpus.
        backbone: folder name of the backbone in the cache, variant included.
        head: name of the head.
        layers: the layers the head was fed.
        classes: emotion names in the order of class numbers.
        split: the kind of split and its settings.
        protocol: name and settings of head and training.
        seeds: the models' seeds.
        data: what it was applied to.
        emotions: the corpus's emotions that each class is made of, where these are not all of them, each a
            class.
        trained_on: the corpora trained on, where another was tested.
        tested_on: the corpus tested, where others were trained on; ids in predictions are then its own, and
            those trained on have their corpus before them.
    """

    corpus: str
    backbone: str
    head: str
    layers: tuple[int, ...]
    classes: tuple[str, ...]
    split: Mapping[str, Any]
    protocol: Mapping[str, Any]
    seeds: tuple[int, ...]
    data: RunData
    emotions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    tested_on: str = ""

    @property
    def training_corpora(self) -> tuple[str, ...]:
        """The corpora trained on, also where it is the one tested."""
        return self.trained_on or (self.corpus,)

    @property
    def test_corpus(self) -> str:
        """The corpus tested, also where it is the one trained on."""
        return self.tested_on or self.corpus

    def choices(self) -> dict[str, Any]:
        """Everything but the data, as JSON."""
        values = self.to_json()
        del values["data"]
        return values

    def to_json(self) -> dict[str, Any]:
        """All of it, with the schema, as JSON.

        What only some runs have is left out of the others, whose names are of a time before there was such.
        """
        values = {name: v for name, v in asdict(self).items() if v or name not in _OF_SOME_RUNS}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"schema": SCHEMA, **listed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or is not what it should be.
        """
        config = cls(
            corpus=values["corpus"],
            backbone=values["backbone"],
            head=values["head"],
            layers=tuple(values["layers"]),
            classes=tuple(values["classes"]),
            split=dict(values["split"]),
            protocol=dict(values["protocol"]),
            seeds=tuple(values["seeds"]),
            data=RunData(**values["data"]),
            emotions={name: tuple(members) for name, members in dict(values.get("emotions", {})).items()},
            trained_on=tuple(values.get("trained_on", ())),
            tested_on=values.get("tested_on", ""),
        )
        # Text is a sequence too, and would be read as its letters.
        if not all(isinstance(v, list | tuple) for v in (values.get("trained_on", ()), *_members(values))):
            raise TypeError("corpora and emotions that are lists")
        texts = [config.corpus, config.backbone, config.head, config.split["kind"], config.protocol["name"]]
        texts += [config.tested_on, *config.trained_on, *(e for m in config.emotions.values() for e in m)]
        if not all(isinstance(text, str) for text in (*texts, *config.classes, *vars(config.data).values())):
            raise TypeError("a name that is text")
        if not all(isinstance(number, int) for number in (*config.layers, *config.seeds)):
            raise TypeError("layers and seeds that are whole numbers")
        return config

    @property
    def prefix(self) -> str:
        """What the folders of all runs of this corpus, backbone and head begin with."""
        return f"{self.corpus}-{self.backbone}-{self.head}-"

    @cached_property
    def run_id(self) -> str:
        """The name of the folder: corpus, backbone, head, and ten digits of the configuration's hash."""
        return self.prefix + sha256_of_value(self.to_json())[:10]


def _members(values: Mapping[str, Any]) -> list[Any]:
    """The emotions of each class, as a file has them."""
    return list(dict(values.get("emotions", {})).values())


def manifest_digest(utterances: Iterable[Utterance]) -> str:
    """Hash of what training takes from a manifest, in any order: ids, emotions, speakers, audio hashes."""
    return sha256_of_value(sorted([u.id, u.emotion, u.speaker, u.sha256] for u in utterances))


def splits_as_json(splits: Sequence[Split]) -> dict[str, Any]:
    """Every fold with the ids of its sides."""
    folds = [
        {
            "fold": split.fold,
            "speaker_disjoint": split.speaker_disjoint,
            "train": list(split.train),
            "validation": list(split.validation),
            "test": list(split.test),
            **({"left_out": list(split.left_out)} if split.left_out else {}),  # runs made before have none
        }
        for split in splits
    ]
    return {"schema": SCHEMA, "folds": folds}


def check_schema(schema: object, where: str) -> None:
    """Refuse what a newer version wrote.

    Raises:
        ResultsError: the schema is missing or higher than ours.
    """
    if not isinstance(schema, int):
        raise ResultsError(f"{where} has no schema number; it is damaged: delete it and run again.")
    if schema > SCHEMA:
        raise ResultsError(
            f"{where} is of a newer version (schema {schema}, ours {SCHEMA}); upgrade ser_cache."
        )
