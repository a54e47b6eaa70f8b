'use strict';
// Two validators of FHIR R4, as a program that tests start: each line on standard input is a resource in JSON, answered by
// a line `{"medplum": [...], "npm-fhir": [...]}` with the errors that each finds. It ends with its input.
const readline = require('node:readline');
const { validateResource } = require('@medplum/core');
const { Fhir } = require('fhir');
require('./definitions.js');

const fhir = new Fhir();

function medplumErrors(resource) {
  try {
    validateResource(resource);
    return [];
  } catch (error) {
    const issues = error.outcome?.issue ?? [{ details: { text: String(error) } }];
    return issues.map((each) => `${(each.expression ?? []).join(', ')}: ${each.details?.text ?? each.code}`);
  }
}

function npmFhirErrors(resource) {
  const severe = ['error', 'fatal'];
  const messages = fhir.validate(resource, { errorOnUnexpected: true }).messages;
  return messages.filter((each) => severe.includes(each.severity)).map((each) => `${each.location}: ${each.message}`);
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const told = { medplum: medplumErrors(JSON.parse(line)), 'npm-fhir': npmFhirErrors(JSON.parse(line)) };
    process.stdout.write(`${JSON.stringify(told)}\n`);
  })
  .on('close', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
