"""GlycanAge's own API, as far as its page describes it: webhooks, report files; and lists where a site knows of one.

```
api: one request, its limits, every error a line     addresses: which addresses are GlycanAge's
reports: a report file, fetched once and kept         webhooks: registrations
```
"""
