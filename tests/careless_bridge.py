"""Run the bridge with another `synchronous` than ours: `python careless_bridge.py OFF serve`.

The negative control of `test_power_loss.py`: the product has no switch for it, and must not have one.
"""

from __future__ import annotations

import sys

from glycanbridge.cli import main
from glycanbridge.journals import database

careful = database._connect


def careless(path):
    """The journal's connection, which syncs less than it should."""
    connection = careful(path)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


if __name__ == "__main__":
    synchronous = sys.argv.pop(1)
    database._connect = careless
    main()
