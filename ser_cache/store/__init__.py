"""The cache of features: the one door to HDF5, pure NumPy, so that stage 2 reads it without torch.

``cache/<backbone>[+variant]/<corpus>/part-NNNN.h5``. A part is created whole (`part`), sealed (`seal`), and
from then on only its feature bytes, checksums and states are written, in place (`writer`); readers map it
into memory (`reader`). Nothing a kill can interrupt changes the file's structure.
"""

from ser_cache.store.failures import FAILURES_FILE, read_failures
from ser_cache.store.fingerprint import Fingerprint, differences, serves
from ser_cache.store.listing import CacheSummary, summaries
from ser_cache.store.lock import folder_lock
from ser_cache.store.part import (
    Part,
    create_part,
    next_number,
    open_part,
    part_paths,
    read_states,
    remove_leftovers,
)
from ser_cache.store.reader import CachedFeatures, check_agreement, open_features
from ser_cache.store.schema import (
    CODECS,
    DONE,
    FAILED,
    INT8_STEPS,
    OVERHEAD,
    PENDING,
    SCHEMA,
    SUPERSEDED,
    TIERS,
    Codec,
    Row,
    frame_bytes,
    row_bytes,
    stored_frames,
)
from ser_cache.store.verify import verify_part
from ser_cache.store.writer import PartWriter

__all__ = [
    "CODECS",
    "DONE",
    "FAILED",
    "FAILURES_FILE",
    "INT8_STEPS",
    "OVERHEAD",
    "PENDING",
    "SCHEMA",
    "SUPERSEDED",
    "TIERS",
    "CacheSummary",
    "CachedFeatures",
    "Codec",
    "Fingerprint",
    "Part",
    "PartWriter",
    "Row",
    "check_agreement",
    "create_part",
    "differences",
    "folder_lock",
    "frame_bytes",
    "next_number",
    "open_features",
    "open_part",
    "part_paths",
    "read_failures",
    "read_states",
    "remove_leftovers",
    "row_bytes",
    "serves",
    "stored_frames",
    "summaries",
    "verify_part",
]
