"""The tables of a PostgreSQL store, and every statement that it sends.

A session is a row of ``heads``, which an append changes, and the rows of ``records`` that have its ``log``. The head's
row is the condition of an append and its lock: whoever moves it writes the records in the same statement. ``log`` is
never used again, so a session that is made anew is told from the one that was deleted. ``end_at`` is
``Position.end``: the bytes of all lines up to this one, line feeds included.

Nothing here is trusted when it is read: the lines are verified, and compared with the head's row.
"""

from typing import Final

from ...binding import BINDING_BYTES_MAX

TABLES: Final = """
CREATE SEQUENCE IF NOT EXISTS changes;
CREATE TABLE IF NOT EXISTS heads (
    session_id text COLLATE "C" PRIMARY KEY,
    log bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    seq bigint,
    hash text COLLATE "C",
    end_at bigint NOT NULL,
    changed bigint NOT NULL DEFAULT nextval('changes')
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS records (
    log bigint NOT NULL,
    seq bigint NOT NULL,
    end_at bigint NOT NULL,
    line bytea NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE TABLE IF NOT EXISTS traces (log bigint NOT NULL, entry bytea NOT NULL);
CREATE INDEX IF NOT EXISTS traces_by_log ON traces (log);
"""
"""``heads`` leaves room in its pages, and no index holds what an append changes: an update stays in the page."""

TABLE_NAMES: Final = ("heads", "records", "traces")

_APPEND: Final = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
        AS wanted (session_id, was, seq, hash, bytes)
), free AS MATERIALIZED (
    SELECT heads.session_id FROM heads JOIN wanted USING (session_id) WHERE was IS NOT NULL
    ORDER BY session_id FOR NO KEY UPDATE OF heads {skip}
), moved AS (
    UPDATE heads SET seq = wanted.seq, hash = wanted.hash, end_at = heads.end_at + bytes, changed = nextval('changes')
    FROM wanted JOIN free USING (session_id)
    WHERE heads.session_id = wanted.session_id AND heads.hash = was
    RETURNING heads.session_id, log, heads.end_at - bytes AS start
), made AS (
    INSERT INTO heads (session_id, seq, hash, end_at)
    SELECT session_id, seq, hash, bytes FROM wanted WHERE was IS NULL ORDER BY session_id
    ON CONFLICT (session_id) DO UPDATE
        SET seq = excluded.seq, hash = excluded.hash, end_at = excluded.end_at, changed = excluded.changed
        WHERE heads.hash IS NULL
    RETURNING session_id, log, 0::bigint AS start
), meant AS (
    SELECT * FROM moved UNION ALL SELECT * FROM made
), written AS (
    INSERT INTO records (log, seq, end_at, line)
    SELECT log, part.seq, start + part.end_at, part.line
    FROM unnest($6::text[], $7::bigint[], $8::bigint[], $9::bytea[]) AS part (session_id, seq, end_at, line)
    JOIN meant USING (session_id)
)
SELECT session_id, session_id IN (SELECT session_id FROM meant) AS is_in
FROM (SELECT session_id FROM free UNION ALL SELECT session_id FROM wanted WHERE was IS NULL) AS seen
"""
APPEND_FREE: Final = _APPEND.format(skip="SKIP LOCKED")
"""Appends to many sessions, one commit each. A session that another transaction holds is passed over: it is not
among the rows. Of those that are, ``is_in`` is false where the head was another one."""
APPEND_WAITING: Final = _APPEND.format(skip="")
"""The same for one session, which waits for its turn: no row now means that there is no such session."""

IS_IN: Final = """
SELECT session_id, (SELECT line FROM records WHERE records.log = heads.log AND records.seq = $2) = $3 AS is_in
FROM heads WHERE session_id = $1
"""

ENDS: Final = f"""
SELECT heads.log, heads.seq, heads.hash, heads.end_at, last.line, (
    SELECT substring(line FROM 1 FOR {BINDING_BYTES_MAX}) FROM records WHERE log = heads.log ORDER BY seq LIMIT 1
) AS first_line
FROM heads LEFT JOIN LATERAL (
    SELECT line FROM records WHERE log = heads.log ORDER BY seq DESC LIMIT 1
) AS last ON true
WHERE session_id = $1
"""  # noqa: S608 - a number of ours

PAGE: Final = """
SELECT heads.log, heads.seq AS head_seq, page.line, page.end_at
FROM heads LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT *, sum(octet_length(line)) OVER (ORDER BY seq) - octet_length(line) AS bytes_before
        FROM (SELECT * FROM records WHERE log = heads.log AND seq >= $2 ORDER BY seq LIMIT $3) AS next
    ) AS counted WHERE bytes_before < $4
) AS page ON true
WHERE session_id = $1 ORDER BY page.seq
"""

TAIL: Final = """
SELECT heads.seq AS head_seq, last.line, last.end_at
FROM heads LEFT JOIN LATERAL (
    SELECT * FROM records WHERE log = heads.log ORDER BY seq DESC LIMIT $2
) AS last ON true
WHERE session_id = $1 ORDER BY last.seq
"""

LIST: Final = "SELECT session_id FROM heads ORDER BY changed DESC"
EXISTS: Final = "SELECT EXISTS (SELECT FROM heads WHERE session_id = $1)"
STAMPS: Final = "SELECT session_id, log || '-' || changed AS stamp FROM heads"

ADD_TRACE: Final = """
INSERT INTO traces (log, entry)
SELECT log, $2 FROM (SELECT log FROM heads WHERE session_id = $1 FOR KEY SHARE) AS found RETURNING log
"""

HOLD_TO_DELETE: Final = "SELECT log, hash FROM heads WHERE session_id = $1 FOR UPDATE"
DELETE: Final = (
    "DELETE FROM records WHERE log = $1",
    "DELETE FROM traces WHERE log = $1",
    "DELETE FROM heads WHERE log = $1 AND session_id = $2",
)
LOG_IS_THERE: Final = "SELECT EXISTS (SELECT FROM heads WHERE session_id = $1 AND log = $2)"

NOTIFY: Final = "SELECT pg_notify($1, session_id) FROM unnest($2::text[]) AS session_id"
BACKEND: Final = "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
END_BACKEND: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""
