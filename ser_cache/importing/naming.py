"""Patterns of file names, such as ``{speaker}_{emotion}_{take}.wav``: what a name says about its clip."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ser_cache.corpora import AUDIO_SUFFIXES
from ser_cache.errors import ManifestError

_TOKEN = re.compile(
    r"\{(?P<name>[^{}:]*)(?::(?P<width>[^{}]*))?\}|(?P<folders>\*\*/)|(?P<any>\*)|(?P<text>[^{}*]+|.)"
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class NamePattern:
    """A compiled pattern.

    ``{name}`` stands for one or more characters other than ``/``, ``{name:3}`` for exactly three, ``*`` for
    any number of characters other than ``/``, ``**/`` for any number of folders; everything else for itself.
    A name that stands twice must match the same text twice. A pattern with ``/`` is matched against the whole
    path below the root, one without against the file's name in any folder. It ends in an audio suffix,
    matched in any case, or in ``.*`` for every audio suffix.

    Where a file can be read in more than one way (``a_b_c.wav`` by ``{speaker}_{emotion}.wav``), it does not
    match: guessing would put wrong labels into a manifest without a word.

    Attributes:
        pattern: as it was written.
        shortest: matches with every placeholder as short as it can be.
        longest: matches with every placeholder as long as it can be. Where both agree there is one reading.
    """

    pattern: str
    shortest: re.Pattern[str]
    longest: re.Pattern[str]

    @classmethod
    def compile(cls, pattern: str, reserved: Collection[str] = ()) -> "NamePattern":
        """Compile a pattern.

        Args:
            pattern: as the user wrote it.
            reserved: names that a placeholder must not have.

        Raises:
            ManifestError: a brace without its partner, a bad or reserved name, no audio suffix at its end, or
                no ``{speaker}`` or ``{emotion}``.
        """
        stem, suffix = _split_suffix(pattern)
        names: set[str] = set()
        shortest, longest = "", ""
        for token in _TOKEN.finditer(stem):
            known = token["name"] in names
            if token["name"] is not None:
                names.add(_checked_name(pattern, token, reserved))
            shortest += _expression(pattern, token, known, "?")
            longest += _expression(pattern, token, known, "")
        for needed, purpose in (
            ("speaker", "splits that keep speakers apart need it"),
            ("emotion", "it is the label"),
        ):
            if needed not in names:
                raise ManifestError(f"the pattern {pattern!r} has no {{{needed}}}; {purpose}.")
        return cls(pattern, re.compile(shortest + suffix), re.compile(longest + suffix))

    def match(self, path: str) -> tuple[dict[str, str] | None, str]:
        """What a path says, by placeholder; or None and why it says nothing.

        Args:
            path: relative to the root, with ``/``.
        """
        subject = path if "/" in self.pattern else path.rpartition("/")[2]
        short, long = self.shortest.fullmatch(subject), self.longest.fullmatch(subject)
        if short is None or long is None:
            return None, f"its name does not match {self.pattern!r}"
        one, other = short.groupdict(), long.groupdict()
        for name, text in one.items():
            if text != other[name]:
                return None, (
                    f"it matches {self.pattern!r} in more than one way "
                    f"({name} is {text!r} or {other[name]!r}); "
                    "give widths, such as {speaker:2}, or use a table"
                )
        return one, ""


def _split_suffix(pattern: str) -> tuple[str, str]:
    """The pattern without its suffix, and a regular expression for the suffix."""
    stem, dot, ending = pattern.rpartition(".")
    if dot and ending == "*":
        return stem, "(?i:" + "|".join(re.escape(suffix) for suffix in sorted(AUDIO_SUFFIXES)) + ")"
    if f".{ending.lower()}" in AUDIO_SUFFIXES and dot:
        return stem, f"(?i:{re.escape(dot + ending)})"
    raise ManifestError(
        f"the pattern {pattern!r} ends in no audio suffix; end it in .wav, for example, or in .*"
    )


def _checked_name(pattern: str, token: re.Match[str], reserved: Collection[str]) -> str:
    name = token["name"]
    if not _NAME.fullmatch(name):
        raise ManifestError(
            f"the pattern {pattern!r} has a placeholder {token[0]!r}; "
            "name it in lower-case letters, digits and '_'."
        )
    if name in reserved:
        raise ManifestError(
            f"the pattern {pattern!r} has {token[0]!r}, which is worked out; call it otherwise."
        )
    return str(name)


def _expression(pattern: str, token: re.Match[str], known: bool, lazy: str) -> str:
    name, width = token["name"], token["width"]
    if name is not None:
        if width is not None and not (width.isdecimal() and width.isascii() and 0 < int(width) < 256):
            raise ManifestError(
                f"the pattern {pattern!r} has {token[0]!r}; a width is a number from 1 to 255."
            )
        if known:
            return f"(?P={name})"
        return f"(?P<{name}>[^/]{{{width}}})" if width else f"(?P<{name}>[^/]+{lazy})"
    if token["folders"]:
        return f"(?:[^/]+/)*{lazy}"
    if token["any"]:
        return f"[^/]*{lazy}"
    if token["text"] in {"{", "}"}:
        raise ManifestError(f"the pattern {pattern!r} has a brace without its partner; write {{name}}.")
    return re.escape(token["text"])
