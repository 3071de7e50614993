"""Audits: what a log's bytes prove, and what they do not (FORMAT sections 5, 7 and 8).

    verify   the bytes: line shape, hashes, links, positions, commit mark; no JSON is parsed
    audit    the meaning too: UTF-8, strict JSON, limits, the envelope, every known kind, the binding to the session,
             and where the session comes from, followed into its source

Both stream: they hold one slice of a log and its longest line, whatever its size, and let the event loop turn between
slices. Neither changes anything. Of a log that is being written they report the last complete prefix; an unfinished
record at the end is a state of the log (``torn_tail``), no finding. A chain alone does not show a tail that was cut
off, a rollback to an older copy, a log rewritten from the start, or a session removed whole: compare with a head that
was kept elsewhere.
"""

from .checks import audit_session, audit_store, verify_session, verify_store
from .report import FINDINGS_MAX, Finding, Report

__all__ = ["FINDINGS_MAX", "Finding", "Report", "audit_session", "audit_store", "verify_session", "verify_store"]
