"""Whether scores on a corpus under a split can be believed: what leaks between sides, what gives labels away.

``measurements`` decodes each clip once and keeps what it measured; ``facts`` puts that beside the manifest
and the splits; checks are pure functions from facts to findings, listed in ``checks``; ``auditing`` runs all.
docs/audit.md says what each check does, and what its thresholds rest on.
"""

from ser_cache.audit.auditing import AuditOptions, Report, audit
from ser_cache.audit.checks import CHECKS, Check
from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, Severity
from ser_cache.audit.measurements import Measured, measure_corpus
from ser_cache.audit.shortcuts import CUES

__all__ = [
    "CHECKS",
    "CUES",
    "AuditOptions",
    "Check",
    "Facts",
    "Finding",
    "Measured",
    "Report",
    "Severity",
    "audit",
    "measure_corpus",
]
