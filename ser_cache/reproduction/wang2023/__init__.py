"""Wang, Raud, Pal 2023 redone: CREMA-D's make-up, MFCC with k-means and with SVM and forest, from a cache.

`study` holds the published figures, `contradictions` what they contradict, `corpus_tables` what needs no
audio, `planning` what can run here, `running` runs it, `results` and `tables` put ours beside theirs, and
`report` joins all of it.
"""

from ser_cache.reproduction.wang2023.planning import ABSENT, AUDIO, CACHED, Planned, planned, runs_found
from ser_cache.reproduction.wang2023.report import Report
from ser_cache.reproduction.wang2023.results import Record, Tested, tested
from ser_cache.reproduction.wang2023.running import (
    BY_UTTERANCE,
    CLUSTERS,
    NEW_SPEAKERS,
    StudyOptions,
    classify,
    cluster_as_study,
    held_out,
)
from ser_cache.reproduction.wang2023.study import CITATION, CORPUS, PublishedStudy, published

__all__ = [
    "ABSENT",
    "AUDIO",
    "BY_UTTERANCE",
    "CACHED",
    "CITATION",
    "CLUSTERS",
    "CORPUS",
    "NEW_SPEAKERS",
    "Planned",
    "PublishedStudy",
    "Record",
    "Report",
    "StudyOptions",
    "Tested",
    "classify",
    "cluster_as_study",
    "held_out",
    "planned",
    "published",
    "runs_found",
    "tested",
]
