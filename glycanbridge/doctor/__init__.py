"""What is wrong with this bridge, and what to do: each check looks at one thing and tells what it finds.

```
checks: the table of all, and how they are run     facts: what they look at     findings: what they say
configuration, secrecy, clock, storage, files, journal, receiver, deliveries: here
far_sides, registration, public_url: over the network, bounded in time (asking)
```
A check is a function from facts to findings; one that fails is a finding itself.
"""
