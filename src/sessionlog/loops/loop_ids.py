"""Loop ids: ``{session_id}.{config_segment}.{n}``, where the session id holds no dot.

Ids that do not follow the pattern are legal everywhere. What is read from them is then only a guess, and what an event
says outright (``AgentStart.session_id``) always wins over it.
"""


def session_id_of(loop_id: str) -> str:
    """Return what stands before the first dot; the whole id where there is none."""
    return loop_id.partition(".")[0]


def config_segment_of(loop_id: str) -> str | None:
    """Return what stands between the first dot and the last; ``None`` where there are fewer than two."""
    _, first, rest = loop_id.partition(".")
    segment, last, _ = rest.rpartition(".")
    return segment if first and last else None
