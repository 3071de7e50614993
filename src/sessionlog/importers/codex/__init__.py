"""Codex CLI rollouts (``~/.codex/sessions/<year>/<month>/<day>/rollout-<time>-<uuid>.jsonl``) as sessions.

A rollout is one line of events. Where turns were rolled back, what follows is a session forked in front of them; a
compaction starts a session that says what it was compacted from. The format is not documented by its makers; what is
said of it here was observed in real files and read from the program's published source.

Read in this order: :mod:`.shapes`, :mod:`.convert`, :mod:`.transcript`.
"""

from .convert import DOMAIN
from .transcript import Codex

__all__ = ["DOMAIN", "Codex"]
