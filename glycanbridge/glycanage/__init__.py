"""GlycanAge's own API, as far as its page describes it: webhooks, report files; and lists where a site knows of one.

```
api: one request, its limits, every error a line     addresses: which addresses are GlycanAge's
answers: the line for each error                     reports: a report file, fetched once and kept
webhooks: register, list, delete                     registrations: what is listed, however it is written
registering: what is to be registered                rotation: a new secret, step by step
notes: what the journal is told of secrets           secret_files: a secret's file and its line in bridge.yaml
```
"""
