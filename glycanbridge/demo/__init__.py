"""A whole bridge with everything around it, in one process and one folder: the first thing that a newcomer runs.

```
show: the bridge, and the story        stage: GlycanAge, and a mail server that goes away and comes back
folder: a bridge.yaml like any other   mails: a mail server on loopback that keeps mails as files
view: what came, what went where, what waits
```
Everything in it is invented, and nothing leaves the machine.
"""
