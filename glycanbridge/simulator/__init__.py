"""A GlycanAge to rehearse against: it lives through weeks of events, sends them as the vendor does, and has an API.

```
lives: what happens to invented kits          api: the documented calls, on loopback
story: what of it is sent, and how badly      registrations: webhooks, and their approval
sender: four sends with back-off, then lost   failures: the API fails on purpose
posting: one POST and its ten seconds         pdf: a small report file
expecting: what the bridge ought to answer    figures: what came of it, in numbers
load: many events at a steady rate            latecomers: one event for a webhook that comes after it
```
Everything in it is invented; nothing of it ever speaks to GlycanAge.
"""
