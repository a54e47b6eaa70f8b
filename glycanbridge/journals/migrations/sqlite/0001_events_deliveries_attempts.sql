-- Times are milliseconds since the epoch. AUTOINCREMENT: a rowid is never used again after pruning.

CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT    NOT NULL UNIQUE,
    digest      BLOB    NOT NULL,           -- equal for two bodies that are duplicates of each other
    type        TEXT    NOT NULL,
    timestamp   INTEGER NOT NULL,           -- GlycanAge's
    received_at INTEGER NOT NULL,           -- ours
    practice_id TEXT    NOT NULL,
    kit_code    TEXT,                       -- the first of its kits; the others are in event_kits
    flags       TEXT    NOT NULL DEFAULT '',
    body        BLOB    NOT NULL            -- exactly as it was signed
) STRICT;

CREATE INDEX events_by_kit ON events (kit_code, id) WHERE kit_code IS NOT NULL;

CREATE TABLE event_kits (
    kit_code    TEXT    NOT NULL,
    event       INTEGER NOT NULL REFERENCES events (id),
    PRIMARY KEY (kit_code, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event       INTEGER NOT NULL REFERENCES events (id),
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'delivered', 'dead')),
    attempt     INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),    -- bumped by each claim: the fencing token
    due_at      INTEGER,                    -- pending: when it may be claimed; running: when the lease ends
    lease_owner TEXT,                       -- host, process and a random part, for information only
    receipt     TEXT,
    last_error  TEXT,
    finished_at INTEGER,
    UNIQUE (event, destination),
    CHECK ((state IN ('pending', 'running')) = (due_at IS NOT NULL)),
    CHECK ((state IN ('delivered', 'dead')) = (finished_at IS NOT NULL)),
    CHECK ((state = 'running') = (lease_owner IS NOT NULL))
) STRICT;

-- The destination comes first: a backlog that waits for one must not slow the claims of another.
CREATE INDEX deliveries_due ON deliveries (destination, due_at, id) WHERE state IN ('pending', 'running');
CREATE INDEX deliveries_dead ON deliveries (destination, id) WHERE state = 'dead';

CREATE TABLE attempts (
    delivery    INTEGER NOT NULL REFERENCES deliveries (id),
    attempt     INTEGER NOT NULL CHECK (attempt >= 1),
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('delivered', 'temporary', 'permanent')),
    error       TEXT,
    receipt     TEXT,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;
