"""Logs made by hand: bytes with right hashes and links, whatever they say. Shares no code with the package."""

from collections.abc import Iterator

from blake3 import blake3

SESSION = "0190163d-8694-739b-aea5-966c26f8ad91"
START = (
    b'{"kind":"session_start","ts":1700000000000,"format":"sessionlog/1",'
    b'"session_id":"0190163d-8694-739b-aea5-966c26f8ad91","system_prompt":"You are helpful.",'
    b'"config":{"max_tokens":1024},"history":[]}'
)
USER = (
    '{"kind":"user_input","ts":1700000001000,"item":{"type":"message","role":"user","content":'
    '[{"type":"text","text":"héllo \u2028 😀"}]}}'
).encode()
TURN_END = b'{"kind":"turn_end","ts":1700000002000,"turn_count":1}'


def digest(payload: bytes) -> bytes:
    """Hash what stands behind byte 75 of a line."""
    return blake3(payload, derive_key_context="sessionlog v1 record").hexdigest().encode()


def forged_line(prev_hash: bytes | None, seq: int, entry: bytes) -> bytes:
    """Return one line, without LF, around the JSON object ``entry``."""
    prev = b"null" if prev_hash is None else b'"%s"' % prev_hash
    payload = b'"prev_hash":%s,"seq":%d,%s' % (prev, seq, entry[1:])
    return b'{"hash":"%s",%s' % (digest(payload), payload)


def forged_lines(*entries: bytes) -> list[bytes]:
    """Return the chained lines of a log."""
    lines: list[bytes] = []
    prev: bytes | None = None
    for seq, entry in enumerate(entries):
        lines.append(forged_line(prev, seq, entry))
        prev = lines[-1][9:73]
    return lines


def forged_log(*entries: bytes) -> bytes:
    """Return a whole log."""
    return b"".join(line + b"\n" for line in forged_lines(*entries))


def chained(data: bytes) -> Iterator[bytes]:
    """Yield the entry bytes of a whole log, by nothing but slices and hashes; ``AssertionError`` where it is broken."""
    prev, lines = b"null", data.split(b"\n")
    assert lines.pop() == b"", "the last record has its LF"
    for seq, line in enumerate(lines):
        assert line[:9] == b'{"hash":"'
        assert line[9:73] == digest(line[75:])
        head = b'"prev_hash":%s,"seq":%d,' % (prev, seq)
        assert line[75:].startswith(head)
        prev = b'"%s"' % line[9:73]
        yield b"{" + line[75 + len(head) :]
