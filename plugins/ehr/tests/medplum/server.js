'use strict';
// Medplum's FHIR router over its memory repository, as a program that tests start: `node server.js BASE_URL [batch]`.
//
// It listens on any free port of 127.0.0.1 and prints it. `batch`: a transaction is run as a batch, as Medplum does unless
// its feature flag is on: HTTP 200, and what came before a bad entry stays. Each line on its standard input is a command in
// JSON, answered by a line: `{"clear": true}` forgets every resource. It ends with its input.
const http = require('node:http');
const readline = require('node:readline');
const { badRequest, getStatus, normalizeOperationOutcome, OperationOutcomeError, validateResource } = require('@medplum/core');
const { FhirRouter, MemoryRepository } = require('@medplum/fhir-router');
require('./definitions.js');

const FHIR_JSON = 'application/fhir+json; charset=utf-8';
const [baseUrl, mode] = process.argv.slice(2);
const basePath = new URL(baseUrl).pathname;
const transactions = mode !== 'batch';

// The memory repository alone neither validates nor rolls back.
class Repository extends MemoryRepository {
  depth = 0;

  async createResource(resource, options) {
    validateResource(resource); // an update comes here as well
    return super.createResource(resource, options);
  }

  async withTransaction(callback) {
    if (this.depth > 0) return callback(undefined);
    const before = [this.resources, this.history].map(copied);
    this.depth += 1;
    try {
      return await callback(undefined);
    } catch (error) {
      [this.resources, this.history] = before;
      throw error;
    } finally {
      this.depth -= 1;
    }
  }
}

// Resources are never changed where they stand, only replaced; the lists of versions are.
function copied(maps) {
  const copyOf = (each) => (Array.isArray(each) ? [...each] : each);
  return new Map([...maps].map(([type, byId]) => [type, new Map([...byId].map(([id, each]) => [id, copyOf(each)]))]));
}

const repository = new Repository();
const router = new FhirRouter();

function capabilities() {
  const types = ['Patient', 'Observation', 'DiagnosticReport', 'DocumentReference'];
  const interaction = ['read', 'create', 'update', 'search-type'].map((code) => ({ code }));
  const resource = types.map((type) => ({
    type, interaction, conditionalCreate: true, conditionalUpdate: true,
    searchParam: [{ name: 'identifier', type: 'token' }],
  }));
  const system = [{ code: 'batch' }, ...(transactions ? [{ code: 'transaction' }] : [])];
  return {
    resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance', fhirVersion: '4.0.1',
    format: ['json'], rest: [{ mode: 'server', interaction: system, resource }],
  };
}

async function answerTo(request, body) {
  const path = request.url.slice(basePath.length).replace(/^\//, '');
  if (!request.url.startsWith(basePath)) return [404, {}, undefined];
  if (path === 'metadata') return [200, {}, capabilities()];
  let json;
  try {
    json = body.length > 0 ? JSON.parse(body) : undefined;
  } catch {
    return outcomeOf(badRequest('The body is no JSON'));
  }
  const [outcome, resource] = await router.handleRequest(
    { method: request.method, url: path, pathname: '', body: json, params: {}, query: {}, headers: request.headers,
      config: { transactions } },
    repository,
  );
  if (!resource) return outcomeOf(outcome);
  const headers = getStatus(outcome) === 201 ? { location: `${baseUrl}/${resource.resourceType}/${resource.id}` } : {};
  return [getStatus(outcome), headers, resource];
}

function outcomeOf(outcome) {
  return [getStatus(outcome), {}, outcome];
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

// One request at a time: the repository's transactions know no neighbours.
let turn = Promise.resolve();
const server = http.createServer(async (request, response) => {
  const body = await bodyOf(request);
  turn = turn.then(async () => {
    const [status, headers, told] = await answerTo(request, body).catch((error) =>
      outcomeOf(normalizeOperationOutcome(error instanceof OperationOutcomeError ? error : new Error(String(error)))),
    );
    response.writeHead(status, { 'content-type': FHIR_JSON, ...headers });
    response.end(told && JSON.stringify(told));
  });
});

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (JSON.parse(line).clear) repository.clear();
    process.stdout.write(`${JSON.stringify({ done: true })}\n`);
  })
  .on('close', () => process.exit(0));
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));
