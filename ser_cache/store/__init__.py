"""The cache of features: the one door to HDF5, pure NumPy, so that stage 2 reads it without torch.

``cache/<backbone>[+variant]/<corpus>/part-NNNN.h5``. A part is created whole (`part`), sealed (`seal`), and
from then on only its feature bytes, checksums and states are written, in place (`writer`); readers map it
into memory (`reader`). Nothing a kill can interrupt changes the file's structure.
"""

from ser_cache.store.commands import Remake, remake_of
from ser_cache.store.contents import cached_folders, current_rows, remove_leftovers, set_aside, statuses
from ser_cache.store.failures import FAILURES_FILE, read_failures
from ser_cache.store.fingerprint import Fingerprint, differences, serves
from ser_cache.store.listing import CacheSummary, folder_called, summaries
from ser_cache.store.lock import folder_lock, naming_the_writer, require_unlocked, require_writable
from ser_cache.store.merge import MergeReport, merge_folder
from ser_cache.store.opening import check_agreement, open_features
from ser_cache.store.part import (
    Part,
    create_part,
    next_number,
    open_part,
    part_paths,
    read_states,
)
from ser_cache.store.reader import CachedFeatures
from ser_cache.store.repair import RepairReport, repair_folder
from ser_cache.store.schema import (
    CODECS,
    DONE,
    FAILED,
    INT8_STEPS,
    LARGEST_PART,
    OVERHEAD,
    PENDING,
    SCHEMA,
    SUPERSEDED,
    TIERS,
    Codec,
    Row,
    frame_bytes,
    row_bytes,
    runs_within,
    stored_frames,
)
from ser_cache.store.usage import Usage, measure, remove_folder
from ser_cache.store.verify import PartReport, inspect_part, verify_part
from ser_cache.store.writer import PartWriter

__all__ = [
    "CODECS",
    "DONE",
    "FAILED",
    "FAILURES_FILE",
    "INT8_STEPS",
    "LARGEST_PART",
    "OVERHEAD",
    "PENDING",
    "SCHEMA",
    "SUPERSEDED",
    "TIERS",
    "CacheSummary",
    "CachedFeatures",
    "Codec",
    "Fingerprint",
    "MergeReport",
    "Part",
    "PartReport",
    "PartWriter",
    "Remake",
    "RepairReport",
    "Row",
    "Usage",
    "cached_folders",
    "check_agreement",
    "create_part",
    "current_rows",
    "differences",
    "folder_called",
    "folder_lock",
    "frame_bytes",
    "inspect_part",
    "measure",
    "merge_folder",
    "naming_the_writer",
    "next_number",
    "open_features",
    "open_part",
    "part_paths",
    "read_failures",
    "read_states",
    "remake_of",
    "remove_folder",
    "remove_leftovers",
    "repair_folder",
    "require_unlocked",
    "require_writable",
    "row_bytes",
    "runs_within",
    "serves",
    "set_aside",
    "statuses",
    "stored_frames",
    "summaries",
    "verify_part",
]
