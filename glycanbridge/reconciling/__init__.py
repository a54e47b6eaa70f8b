"""Compares what GlycanAge has with what the journal holds, and makes the events that never came.

GlycanAge forgets an event after three retries; its page says "Consider implementing a fallback polling mechanism for
critical events", and documents neither a list nor an export. So both are settings.

```
rows: what GlycanAge has, one thing a row           held: what the journal holds of the same kind, and of a kit
export: rows of a CSV export                        comparing: what is missing, and what may be made of it
listing: rows of a list that GlycanAge's API has    opposing: the events that rows differ from, or that are newer
                                                    making: the event of a missing row, kept like any other
```
"""
