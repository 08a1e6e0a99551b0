"""Languages by one code each, whatever a table calls them: "English", "EN", "en-US" and "eng" are ``en``.

Corpora are told apart, counted and joined by language, so two spellings of one would be two languages.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache, lru_cache

from ser_cache.errors import ManifestError
from ser_cache.packaged import packaged_rows
from ser_cache.tables import folded

_TAG = re.compile(r"([a-z]{2,3})[-_][a-z0-9_-]+")
_ADDED = re.compile(r"(.+?) *\([^()]*\)")
_UNDETERMINED = "und"
"""ISO 639-2's own code for a language that is not known."""


@lru_cache(maxsize=1_000)
def language_code(text: str) -> str:
    """The code of a language: ISO 639-1, or of ISO 639-3 for some that have no shorter one.

    Args:
        text: that code, in any case; the three letters of ISO 639-2 or 639-3; a tag with a region or a
            script, which are dropped ("pt_BR", "zh-Hant"); or the name in English, or the language's own,
            with a region in brackets or without. Spaces around it do not matter.

    Returns:
        The code; empty for an empty text and for "und".

    Raises:
        ManifestError: no such language; the message has the nearest, and says what can be given.
    """
    said = folded(" ".join(text.split()))
    known = _codes()
    if said in ("", _UNDETERMINED):
        return ""
    tag, added = _TAG.fullmatch(said), _ADDED.fullmatch(said)
    for spelling in (said, tag and tag[1], added and added[1]):
        if spelling in known:
            return known[spelling]
    nearest = get_close_matches(said, known, n=1)
    guess = f"; did you mean {known[nearest[0]]} ({nearest[0]})?" if nearest else ""
    raise ManifestError(
        f"no language is known as {text[:40]!r}{guess}; give its ISO 639-1 code (de, en, es, fr, it ...) or "
        "its English name, leave it empty, or call the column otherwise."
    )


@cache
def _codes() -> dict[str, str]:
    """Every spelling, folded, to its code."""
    found: dict[str, str] = {}
    for row in packaged_rows("languages.csv"):
        spellings = [row["code"], *row["three_letters"].split(";"), *row["names"].split(";")]
        found |= {folded(spelling): row["code"] for spelling in spellings}
    return found
