// The vendor's Express sample: signature, idempotency and validation as in its documentation. It keeps nothing.
//
// `node express.js SECRET_FILE` serves it; `node express.js SECRET_FILE JOURNAL` is its durable form: each event is
// committed to SQLite, with four deliveries as in the bridge's journal, before it is answered.

const crypto = require('crypto');
const fs = require('fs');
const express = require('express');

const [secretFile, journal] = process.argv.slice(2);
const webhookSecret = fs.readFileSync(secretFile, 'utf8');
const DESTINATIONS = ['destination-1', 'destination-2', 'destination-3', 'destination-4'];
const TYPES = ['order-status-changed', 'assignment-status-changed', 'kit-received', 'report-ready'];

function verifySignature(payload, signature, secret) {
  const expectedSignature = crypto.createHmac('sha256', secret).update(payload).digest('hex');
  return signature === `sha256=${expectedSignature}`;
}

function validateEvent(event) {
  if (!event.type || !event.timestamp || !event.data) throw new Error('Invalid event structure');
  if (!TYPES.includes(event.type)) throw new Error('Unknown event type');
}

// Returns whether the event was new.
function inMemory() {
  const processedEvents = new Set();
  return (eventId) => !processedEvents.has(eventId) && Boolean(processedEvents.add(eventId));
}

function inJournal(file) {
  const database = new (require('better-sqlite3'))(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(`
    CREATE TABLE events (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, type TEXT NOT NULL, body TEXT NOT NULL,
                         received_at INTEGER NOT NULL) STRICT;
    CREATE TABLE deliveries (id INTEGER PRIMARY KEY, event INTEGER NOT NULL REFERENCES events, destination TEXT NOT NULL,
                             state TEXT NOT NULL, due_at INTEGER NOT NULL) STRICT;
    CREATE INDEX due ON deliveries (destination, due_at) WHERE state = 'pending';`);
  const event = database.prepare('INSERT INTO events (digest, type, body, received_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING');
  const delivery = database.prepare("INSERT INTO deliveries (event, destination, state, due_at) VALUES (?, ?, 'pending', ?)");
  return database.transaction((eventId, told, payload) => {
    const added = event.run(eventId, told.type, payload, Date.now());
    if (!added.changes) return false;
    for (const destination of DESTINATIONS) delivery.run(added.lastInsertRowid, destination, Date.now());
    return true;
  });
}

const isNew = journal ? inJournal(journal) : inMemory();
const app = express();
app.use(express.json());
app.post('/webhooks/glycanage', (req, res) => {
  const payload = JSON.stringify(req.body);
  if (!verifySignature(payload, req.headers['x-glycanage-signature'], webhookSecret)) {
    return res.status(401).send('Unauthorized');
  }
  validateEvent(req.body);
  const eventId = req.body.id || `${req.body.type}-${req.body.timestamp}`;
  return res.status(200).send(isNew(eventId, req.body, payload) ? 'OK' : 'Already processed');
});
const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/webhooks/glycanage`);
});
