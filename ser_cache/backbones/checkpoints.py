"""From the name of a backbone to a folder with its configuration and weights.

A name is an alias, the id of a repository on the Hugging Face hub, or a local folder. Files come from the
hub's own cache (``HF_HOME``) where they are there; a snapshot is addressed by its commit, so a pinned or once
resolved revision needs no network again.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ser_cache.backbones.registry import BACKBONES, BackboneSpec
from ser_cache.errors import BackboneError, UnknownNameError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_PROXIES = {"http", "https", "all"}
_FAMILIES = ("whisper", "wav2vec2", "hubert", "wavlm")  # as aliases begin
_HINT = "A hub id (organisation/model) or a local folder works too."
_LIKENESS = 0.85  # of difflib's ratio: two letters in twenty; "-base" and "-large" are further apart


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from; nothing has been read yet.

    Attributes:
        name: its folder in the cache.
        folder: the local folder, or None for the hub.
        hub_id: the repository, or empty for a local folder.
        revision: commit, tag or branch; empty for ``main``.
        spec: the registry's entry, for an alias.
    """

    name: str
    folder: Path | None = None
    hub_id: str = ""
    revision: str = ""
    spec: BackboneSpec | None = None

    @property
    def shown(self) -> str:
        """What messages call it: the folder or the repository."""
        return str(self.folder) if self.folder is not None else self.hub_id


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a backbone.

    Attributes:
        source: where it comes from, with the revision resolved to a commit where it is the hub's.
        folder: holds ``config.json`` and, when asked for, the weights.
        config: ``config.json`` as it stands in the file.
        preprocessor: the feature extractor's settings; None when the checkpoint has none.
    """

    source: Source
    folder: Path
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any] | None


def resolve(model: str, label: str = "", revision: str = "") -> Source:
    """Say what a name means; touches no file but to see whether a folder of that name exists.

    Args:
        model: alias, hub id or local folder.
        label: replaces the folder's name in the cache.
        revision: replaces the pinned revision of a hub repository.

    Raises:
        UnknownNameError: the name is none of the three.
        BackboneError: a path that does not exist, a name that cannot be a folder of the cache, or a revision
            of a local folder.
    """
    if label and not _FOLDER_NAME.fullmatch(label):
        raise BackboneError(f"the name {label!r} cannot be a folder of the cache; use letters, digits, - _ .")
    if spec := BACKBONES.get(model):
        return Source(label or spec.alias, hub_id=spec.hub_id, revision=revision or spec.revision, spec=spec)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise BackboneError(
                f"{model} is a local folder, which has no revision {revision}; leave --revision out."
            )
        return Source(label or _folder_name(folder), folder=folder)
    if folder.exists():
        raise BackboneError(f"{model} is a file; a backbone is the folder that holds its config.json.")
    if _HUB_ID.fullmatch(model) and not model.startswith("~"):
        return Source(label or model.replace("/", "--"), hub_id=model, revision=revision)
    if "/" in model or model.startswith((".", "~")):
        raise BackboneError(f"there is no folder {model}; give one that holds config.json and weights.")
    raise _unknown(model)


def _unknown(model: str) -> UnknownNameError:
    """The error about a name: a slip of the pen, or a sibling of known models that has no alias.

    For hubert-xlarge-ll60k the nearest alias is hubert-large, which nobody means who writes the former; what
    is meant is a repository of the hub, whose id is not for us to guess.
    """
    family = next((name for name in _FAMILIES if model.casefold().startswith(f"{name}-")), "")
    siblings = [spec for spec in BACKBONES.values() if spec.alias.startswith(f"{family}-")] if family else []
    if not siblings:
        return UnknownNameError("backbone", model, BACKBONES, hint=_HINT)
    rests = [spec.alias.removeprefix(f"{family}-") for spec in siblings]
    if get_close_matches(model.casefold().removeprefix(f"{family}-"), rests, n=1):
        return UnknownNameError("backbone", model, BACKBONES, hint=_HINT)
    example = siblings[0].hub_id
    hint = f"{model} has no alias; give its hub id as its page on the hub has it (such as {example}), or a "
    return UnknownNameError("backbone", model, BACKBONES, hint=f"{hint}local folder.", guess=False)


def _meant(hub_id: str) -> str:
    """A known repository whose id is nearly this one, as a question; empty without, and for a known one."""
    aliases = {spec.hub_id: spec.alias for spec in BACKBONES.values()}
    nearest = [] if hub_id in aliases else get_close_matches(hub_id, aliases, n=1, cutoff=_LIKENESS)
    return f" (did you mean {nearest[0]}, alias {aliases[nearest[0]]}?)" if nearest else ""


def _folder_name(folder: Path) -> str:
    name = folder.resolve().name
    if not _FOLDER_NAME.fullmatch(name):
        raise BackboneError(f"{name!r} cannot be a folder of the cache; choose another with --name.")
    return name


def find(
    source: Source, weights: bool = True, local_files_only: bool = False, bars: bool = False
) -> Checkpoint:
    """Bring the files together, downloading them where the hub's cache lacks them.

    Args:
        source: what ``resolve`` gave.
        weights: False is satisfied with the configuration.
        local_files_only: never use the network.
        bars: let the hub's client show its download bars on standard error.

    Raises:
        BackboneError: files are missing, not reachable or not JSON.
    """
    if source.folder is not None:
        folder, resolved = source.folder, source
    else:
        with _quiet_hub(bars):
            folder = _download(source, weights, local_files_only)
        resolved = Source(source.name, None, source.hub_id, folder.name, source.spec)
    config = _read_json(folder / "config.json")
    if config is None:
        raise BackboneError(f"{folder} holds no config.json; give the folder of a transformers checkpoint.")
    if weights and not any((folder / name).exists() for name in _WEIGHTS):
        raise BackboneError(f"{folder} holds no weights ({', '.join(_WEIGHTS[::2])}); copy them there.")
    return Checkpoint(resolved, folder, config, _preprocessor(folder))


def _preprocessor(folder: Path) -> Mapping[str, Any] | None:
    """The feature extractor's settings; transformers 5 nests them when it saves a whole processor."""
    settings = _read_json(folder / "preprocessor_config.json")
    if settings is None:
        nested = (_read_json(folder / "processor_config.json") or {}).get("feature_extractor")
        settings = nested if isinstance(nested, dict) else None
    return settings


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read as JSON ({error}); download it again.") from error
    if not isinstance(value, dict):
        raise BackboneError(f"{path} is not a JSON object; download it again.")
    return value


def _download(source: Source, weights: bool, local_files_only: bool) -> Path:
    """Bring a repository's files into the hub's cache; gives the snapshot's folder, named by its commit."""
    online = not local_files_only and _hub_is_reachable()
    config = _fetch(source, source.revision, "config.json", online)
    if config is None:
        raise _unavailable(source, "config.json", online)
    folder = config.parent
    if _fetch(source, folder.name, "preprocessor_config.json", online) is None:
        _fetch(source, folder.name, "processor_config.json", online)
    if weights:
        _fetch_weights(source, folder.name, online)
    return folder


def _fetch_weights(source: Source, commit: str, online: bool) -> None:
    for name in _WEIGHTS:
        path = _fetch(source, commit, name, online)
        if path is None:
            continue
        if name.endswith(".index.json"):
            shards = sorted(set((_read_json(path) or {}).get("weight_map", {}).values()))
            missing = [shard for shard in shards if _fetch(source, commit, shard, online) is None]
            if missing:
                raise _unavailable(source, missing[0], online)
        return
    raise _unavailable(source, "the weights", online)


def _fetch(source: Source, revision: str, name: str, online: bool) -> Path | None:
    """One file of a repository, from the hub's cache or the network; None when there is none to be had."""
    from huggingface_hub import try_to_load_from_cache

    if _COMMIT.fullmatch(revision):
        cached = try_to_load_from_cache(source.hub_id, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
        if cached is not None:  # the hub's client remembers that this commit has no such file
            return None
    return _ask(source, revision, name, online)


def _ask(source: Source, revision: str, name: str, online: bool) -> Path | None:
    """One file through the hub's client, every failure of it as an error of ours; see ``_fetch``."""
    from huggingface_hub import constants, errors, hf_hub_download

    try:
        path = hf_hub_download(source.hub_id, name, revision=revision or None, local_files_only=not online)
    except errors.GatedRepoError as error:
        hint = "accept its terms on the hub and log in with `hf auth login`."
        raise BackboneError(f"{source.hub_id} is gated; {hint}") from error
    except errors.RevisionNotFoundError as error:
        raise BackboneError(f"{source.hub_id} has no revision {revision}; give another.") from error
    except errors.RepositoryNotFoundError as error:
        hint = f"look it up at {constants.ENDPOINT}, or log in with `hf auth login` if it is private"
        raise BackboneError(
            f"the hub has no repository {source.hub_id}{_meant(source.hub_id)}; {hint}."
        ) from error
    except errors.LocalEntryNotFoundError as error:  # an EntryNotFoundError too, though the hub never said so
        if not online:
            return None
        reason = _first_line(error.__cause__ or error)
        raise BackboneError(
            f"{source.hub_id}: the hub cannot be reached just now for {name} ({reason}); try again, "
            "or go by the local cache alone with --offline."
        ) from error
    except errors.EntryNotFoundError:
        return None
    except (OSError, ValueError, _transport_error()) as error:
        raise BackboneError(
            f"{source.hub_id}: {name} cannot be downloaded ({_first_line(error)}); try again."
        ) from error
    return Path(path)


def _transport_error() -> type[Exception]:
    """The base of a broken connection's errors: HTTPError of the HTTP library that this hub client ships."""
    from huggingface_hub import errors

    base: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    return base


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _unavailable(source: Source, what: str, online: bool) -> BackboneError:
    revision = f" at {source.revision}" if source.revision else ""
    if online:
        return BackboneError(
            f"{source.hub_id}{revision} does not hold {what}; it is no transformers checkpoint."
        )
    command = f"hf download {source.hub_id}" + (f" --revision {source.revision}" if source.revision else "")
    return BackboneError(
        f"{source.hub_id}: the hub's local cache lacks {what}{revision}, and the hub is out of reach (or "
        f"--offline was given){_meant(source.hub_id)}; "
        f"run `{command}` where there is network (HF_HOME says where it goes), or give a local folder."
    )


def _hub_is_reachable() -> bool:
    """Whether asking the hub can succeed; its client would retry for 20 s on a machine without network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if _PROXIES & getproxies().keys():  # it also holds no_proxy, which is none
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


@contextmanager
def _quiet_hub(bars: bool) -> Iterator[None]:
    """Silence the hub's client: its log always, its bars unless they are wanted."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    logger = logging.getLogger("huggingface_hub")
    level, hidden = logger.level, are_progress_bars_disabled()
    logger.setLevel(logging.ERROR + 1)
    if not bars and not hidden:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars and not hidden:
            enable_progress_bars()
