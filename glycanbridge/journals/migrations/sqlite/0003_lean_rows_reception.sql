-- Rows that are cheap to record, and lists that are as fast after ten million events as after ten. What an event is kept
-- under takes 32 bytes instead of 64 letters, twice: the larger this index, the more of each commit is spent on it. The
-- CHECKs say what they said, in a form that costs a tenth. Unique indexes are made at the end, sorted.

CREATE TABLE events_3 (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         ANY     NOT NULL,           -- what it is kept under: a hash (32 bytes) or its sender's id (text)
    own_digest  BLOB,                       -- its digest, where that is not the key
    type        TEXT    NOT NULL,
    timestamp   INTEGER NOT NULL,           -- GlycanAge's
    received_at INTEGER NOT NULL,           -- ours
    practice_id TEXT    NOT NULL,
    kit_code    TEXT,                       -- the first of its kits; the others are in event_kits
    flags       TEXT    NOT NULL DEFAULT '',
    body        BLOB    NOT NULL,           -- exactly as it was signed
    event_id    TEXT    GENERATED ALWAYS AS (CASE typeof(key) WHEN 'blob' THEN lower(hex(key)) ELSE key END) VIRTUAL,
    digest      BLOB    GENERATED ALWAYS AS (coalesce(own_digest, key)) VIRTUAL,    -- equal for two that are duplicates
    CHECK (typeof(key) = 'blob' OR (typeof(key) = 'text' AND own_digest IS NOT NULL))
) STRICT;

INSERT INTO events_3 (id, key, own_digest, type, timestamp, received_at, practice_id, kit_code, flags, body)
SELECT id, key, nullif(digest, key), type, timestamp, received_at, practice_id, kit_code, flags, body
FROM (SELECT *, CASE WHEN length(event_id) = 64 AND event_id NOT GLOB '*[^0-9a-f]*' THEN unhex(event_id)
                ELSE event_id END AS key FROM events);

CREATE TABLE deliveries_3 (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event       INTEGER NOT NULL REFERENCES events (id),
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending',
    attempt     INTEGER NOT NULL DEFAULT 0,     -- bumped by each claim: the fencing token
    step        INTEGER NOT NULL DEFAULT 0,     -- attempts that count, since owed or replayed
    due_at      INTEGER,                    -- pending: when it may be claimed; running: when the lease ends
    was_due_at  INTEGER,                    -- running: since when it was due, to be put back in its place
    claimed_at  INTEGER,                    -- running: since when
    lease_owner TEXT,                       -- host, process and a random part, for information only
    ordered     INTEGER NOT NULL DEFAULT 0,     -- it has rows in order_keys until it is settled
    held        INTEGER NOT NULL DEFAULT 0,     -- a person must decide
    letter      TEXT,
    receipt     TEXT,
    last_error  TEXT,
    finished_at INTEGER,
    -- No IN with more than two values: SQLite would make a table of them each time.
    CHECK (CASE state
           WHEN 'pending' THEN lease_owner IS NULL AND finished_at IS NULL AND (held = 0 OR due_at IS NULL)
           WHEN 'running' THEN lease_owner IS NOT NULL AND finished_at IS NULL AND due_at IS NOT NULL AND held = 0
           WHEN 'delivered' THEN lease_owner IS NULL AND finished_at IS NOT NULL AND due_at IS NULL AND held = 0
           WHEN 'dead' THEN lease_owner IS NULL AND finished_at IS NOT NULL AND due_at IS NULL AND held = 0
           ELSE FALSE END),
    CHECK (attempt >= 0 AND step >= 0 AND ordered IN (0, 1) AND held IN (0, 1)),
    CHECK (letter = 'owed' OR letter = 'written' OR letter = 'discarded')
) STRICT;

INSERT INTO deliveries_3 SELECT * FROM deliveries;

DROP TABLE events;
DROP TABLE deliveries;
ALTER TABLE events_3 RENAME TO events;
ALTER TABLE deliveries_3 RENAME TO deliveries;

CREATE UNIQUE INDEX events_by_key ON events (key);
CREATE INDEX events_by_kit ON events (kit_code, id) WHERE kit_code IS NOT NULL;
CREATE INDEX events_by_reception ON events (received_at);
CREATE INDEX events_by_type ON events (type, received_at);

CREATE UNIQUE INDEX deliveries_of_event ON deliveries (event, destination);
-- The destination comes first: a backlog that waits for one must not slow the claims of another.
CREATE INDEX deliveries_due ON deliveries (destination, due_at, id) WHERE state = 'pending' AND due_at IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (destination, id) WHERE state = 'pending' AND due_at IS NULL;
CREATE INDEX deliveries_running ON deliveries (destination, due_at, id) WHERE state = 'running';
CREATE INDEX deliveries_dead ON deliveries (destination, id) WHERE state = 'dead';
CREATE INDEX deliveries_delivered ON deliveries (destination, id) WHERE state = 'delivered';
CREATE INDEX deliveries_letters ON deliveries (id) WHERE letter = 'owed';
