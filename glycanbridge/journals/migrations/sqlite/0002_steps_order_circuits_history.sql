-- What a delivery needs to outlive crashes, outages and people: where it stands in its schedule, what it waits for, and
-- what was done about it. A pending delivery without `due_at` waits for something else than time: for the deliveries
-- before it (`order_keys`), or for a person (`held`).

ALTER TABLE deliveries RENAME TO deliveries_1;
ALTER TABLE attempts RENAME TO attempts_1;
DROP INDEX deliveries_due;
DROP INDEX deliveries_dead;

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event       INTEGER NOT NULL REFERENCES events (id),
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'delivered', 'dead')),
    attempt     INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),    -- bumped by each claim: the fencing token
    step        INTEGER NOT NULL DEFAULT 0 CHECK (step >= 0),       -- attempts that count, since owed or replayed
    due_at      INTEGER,                    -- pending: when it may be claimed; running: when the lease ends
    was_due_at  INTEGER,                    -- running: since when it was due, to be put back in its place
    claimed_at  INTEGER,                    -- running: since when
    lease_owner TEXT,                       -- host, process and a random part, for information only
    ordered     INTEGER NOT NULL DEFAULT 0 CHECK (ordered IN (0, 1)),   -- it has rows in order_keys until it is settled
    held        INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),      -- a person must decide
    letter      TEXT CHECK (letter IN ('owed', 'written', 'discarded')),
    receipt     TEXT,
    last_error  TEXT,
    finished_at INTEGER,
    UNIQUE (event, destination),
    CHECK ((state IN ('delivered', 'dead')) = (finished_at IS NOT NULL)),
    CHECK (state NOT IN ('delivered', 'dead') OR due_at IS NULL),
    CHECK (state <> 'running' OR due_at IS NOT NULL),
    CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    CHECK (held = 0 OR (state = 'pending' AND due_at IS NULL))
) STRICT;

INSERT INTO deliveries (id, event, destination, state, attempt, step, due_at, claimed_at, lease_owner, letter, receipt,
                        last_error, finished_at)
SELECT id, event, destination, state, attempt, attempt, due_at, CASE state WHEN 'running' THEN due_at END, lease_owner,
       CASE state WHEN 'dead' THEN 'written' END, receipt, last_error, finished_at
FROM deliveries_1;

CREATE TABLE attempts (
    delivery    INTEGER NOT NULL REFERENCES deliveries (id),
    attempt     INTEGER NOT NULL CHECK (attempt >= 1),
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER,                    -- not known where the outcome is not
    outcome     TEXT    NOT NULL CHECK (outcome IN ('delivered', 'temporary', 'permanent', 'unknown')),
    error       TEXT,
    receipt     TEXT,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;

INSERT INTO attempts SELECT * FROM attempts_1;
DROP TABLE attempts_1;
DROP TABLE deliveries_1;

-- The destination comes first: a backlog that waits for one must not slow the claims of another.
CREATE INDEX deliveries_due ON deliveries (destination, due_at, id) WHERE state = 'pending' AND due_at IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (destination, id) WHERE state = 'pending' AND due_at IS NULL;
CREATE INDEX deliveries_running ON deliveries (destination, due_at, id) WHERE state = 'running';
CREATE INDEX deliveries_dead ON deliveries (destination, id) WHERE state = 'dead';
CREATE INDEX deliveries_letters ON deliveries (id) WHERE letter = 'owed';

-- For destinations with `ordered_by`: each open delivery under each of its keys. The first of a key goes first.
CREATE TABLE order_keys (
    destination TEXT    NOT NULL,
    order_key   TEXT    NOT NULL,
    order_at    INTEGER NOT NULL,           -- the event's timestamp; before all others while it runs
    delivery    INTEGER NOT NULL REFERENCES deliveries (id),
    PRIMARY KEY (destination, order_key, order_at, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX order_keys_of_delivery ON order_keys (delivery);

CREATE TABLE destinations (
    name        TEXT    PRIMARY KEY,
    paused_at   INTEGER,
    paused_by   TEXT,
    reason      TEXT,
    failures    INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    open_since  INTEGER,
    probe_at    INTEGER,
    answered_at INTEGER,                    -- when a delivery got through, for the first time after the last failure
    CHECK ((paused_at IS NULL) = (paused_by IS NULL)),
    CHECK ((open_since IS NULL) = (probe_at IS NULL))
) STRICT, WITHOUT ROWID;

-- What people did, and what the bridge did in their place.
CREATE TABLE history (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    who         TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    about       TEXT    NOT NULL,           -- a destination's name, a delivery's or a dead letter's id
    reason      TEXT
) STRICT;
CREATE INDEX history_about ON history (about, id);

-- How the clocks stood when they were last looked at: what the wall clock says, by how much it is ahead of the machine's
-- steady clock, and which start of the machine that one counts from. If they differ now, the wall clock was set.
CREATE TABLE clock (seen_at INTEGER NOT NULL, ahead_by INTEGER NOT NULL, boot TEXT NOT NULL) STRICT;
INSERT INTO clock VALUES (0, 0, '');
