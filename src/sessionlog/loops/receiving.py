"""Taking a runtime's event in: what a log will say of it, and whether a log can hold it.

An event is an object of this package or its JSON, a mapping, with members that this version does not know. Both become
:class:`~.routing.Received`: the JSON that reading a log gives back, and the event that it decodes to.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ..entries import AgentEventEntry, encode_entry, is_within_limits
from ..errors import InvalidEntry
from .events import KNOWN_TYPES, KnownEvent, UnknownEvent, decode_event, decode_known_event, encode_event
from .routing import Received

_BEFORE_EVENT: Final = encode_entry(AgentEventEntry(ts=0, event=0))[:-2]
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_MALFORMED: Final = (ValueError, TypeError, RecursionError, OverflowError, msgspec.MsgspecError)


def receive_to_keep(event: Any) -> Received:
    """Return the event as a log gives it back. Raises :class:`InvalidEntry` for what is none, or no log can hold."""
    return _receive_known(event) or receive(event, encode=_encode_kept)


def _receive_known(event: object) -> Received | None:
    """Return an event that a log holds for sure, as :func:`_receive`; ``None`` where that takes a closer look."""
    if type(event) not in KNOWN_TYPES:
        return None
    try:
        encoded = _encode(event)
        decoded = decode_known_event(encoded)
        if decoded != event or not is_within_limits(decoded, encoded, depth=2):
            return None
        return Received(_decode(encoded), decoded, encoded)
    except _MALFORMED:
        return None


def _encode_kept(data: Any) -> bytes:
    """Return the JSON of an event's data. Raises :class:`InvalidEntry` for what a log cannot hold."""
    return encode_entry(AgentEventEntry(ts=0, event=data))[len(_BEFORE_EVENT) : -1]


def receive(event: Any, *, encode: Callable[[Any], bytes] = msgspec.json.encode) -> Received:
    """Return the event as JSON gives it back, and as what it says. Raises :class:`InvalidEntry` for no event."""
    try:
        given = msgspec.to_builtins(dict(event)) if isinstance(event, Mapping) else encode_event(event)
        data = msgspec.json.decode(encode(given))
        decoded = decode_event(data)
    except _MALFORMED as error:
        raise InvalidEntry(f"{type(event).__name__} is no event that JSON can hold: {error}") from error
    if type(decoded) is not type(event) and not isinstance(event, Mapping | UnknownEvent):
        raise InvalidEntry(f"{type(event).__name__}: {_misfit(data)}")
    return Received(data, decoded)


def _misfit(data: Any) -> str:
    try:
        msgspec.convert(data, KnownEvent)
    except (ValueError, TypeError, RecursionError) as error:
        return str(error)
    return "it does not decode to what was given"


__all__ = ["receive", "receive_to_keep"]
