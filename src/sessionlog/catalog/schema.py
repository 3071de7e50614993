"""The tables of a catalog's file.

sessions   a row for each session
labels     its labels                usage   its tokens by day (UTC) and model
spawns     the sessions that its tool calls ran
kinds      its records by kind       tools   its tool calls by tool
stamps     the store's change token for each session, as of when it was read
folds      what to go on with when a session has grown
blocks     the records that say something, in runs of some, and where each run stands in its log; an id is never
           used again, since the trigrams of a session that is gone may stay in ``words``
words      the trigrams of each block (FTS5, contentless): in which blocks a text may stand, never what they say
"""

from typing import Final

APPLICATION_ID: Final = 0x736C6F67
"""``slog``, in the header of the file (SQLite, "PRAGMA application_id")."""
SCHEMA_VERSION: Final = 5

SCHEMA: Final = """
CREATE TABLE sessions (
    no INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    title TEXT, project TEXT, agent TEXT, version TEXT,
    kind TEXT NOT NULL, origin_id TEXT, origin_hash TEXT, origin_seq INTEGER, parent_id TEXT,
    first_ts INTEGER, last_ts INTEGER, first_words TEXT NOT NULL,
    turns INTEGER NOT NULL, tool_calls INTEGER NOT NULL, tool_failures INTEGER NOT NULL,
    dangling_calls INTEGER NOT NULL,
    requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    records INTEGER NOT NULL, bytes INTEGER NOT NULL,
    head_seq INTEGER, head_hash TEXT,
    state TEXT NOT NULL, fault TEXT
);
CREATE INDEX sessions_last ON sessions (coalesce(last_ts, 0), session_id);
CREATE INDEX sessions_origin ON sessions (origin_id) WHERE origin_id IS NOT NULL;
CREATE INDEX sessions_unplaced ON sessions (origin_id) WHERE origin_seq IS NULL AND origin_id IS NOT NULL;
CREATE INDEX sessions_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;
CREATE TABLE labels (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (no, key)
) WITHOUT ROWID;
CREATE TABLE usage (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, day TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    PRIMARY KEY (no, day, model)
) WITHOUT ROWID;
CREATE TABLE spawns (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, child_id TEXT NOT NULL,
    seq INTEGER NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (no, child_id)
) WITHOUT ROWID;
CREATE INDEX spawns_child ON spawns (child_id);
CREATE TABLE kinds (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, kind TEXT NOT NULL, records INTEGER NOT NULL,
    PRIMARY KEY (no, kind)
) WITHOUT ROWID;
CREATE TABLE tools (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, tool TEXT NOT NULL,
    calls INTEGER NOT NULL, failures INTEGER NOT NULL, timed INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    PRIMARY KEY (no, tool)
) WITHOUT ROWID;
CREATE TABLE stamps (session_id TEXT PRIMARY KEY, stamp TEXT) WITHOUT ROWID;
CREATE TABLE folds (no INTEGER PRIMARY KEY REFERENCES sessions ON DELETE CASCADE, end_at INTEGER NOT NULL, frozen BLOB);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, start_at INTEGER NOT NULL, prev_hash BLOB,
    calls BLOB, fresh INTEGER NOT NULL
);
CREATE INDEX blocks_of ON blocks (no);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', columnsize = 0, detail = 'none', tokenize = 'trigram')
"""
TABLES: Final = ("sessions", "labels", "usage", "spawns", "kinds", "tools", "stamps", "folds", "blocks")
