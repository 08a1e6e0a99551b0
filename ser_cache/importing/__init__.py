"""From a folder of audio to a manifest: a known corpus by its recipe, any other by a table or a name pattern.

Every way first lists the clips with what is known of them (``Listing``); then ``prepare`` decodes them all.
Problems with single files are collected, so that one bad file costs one clip; problems with the labels stop
the import, because they concern all of them.
"""

from ser_cache.importing.labels import Labels, read_labels
from ser_cache.importing.listing import Failure, Listing, list_corpus, read_pattern, read_table
from ser_cache.importing.naming import NamePattern
from ser_cache.importing.preparing import (
    Import,
    Progress,
    about_left_out,
    differences,
    prepare,
    prepare_corpus,
)
from ser_cache.importing.roots import describe_root

__all__ = [
    "Failure",
    "Import",
    "Labels",
    "Listing",
    "NamePattern",
    "Progress",
    "about_left_out",
    "describe_root",
    "differences",
    "list_corpus",
    "prepare",
    "prepare_corpus",
    "read_labels",
    "read_pattern",
    "read_table",
]
