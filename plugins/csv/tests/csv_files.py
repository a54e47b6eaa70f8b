"""For the tests of the CSV plugin: events to deliver, files to read, and processes to do it elsewhere."""

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from glycanbridge import Delivery
from glycanbridge.events import parse

README = Path(__file__).parents[1] / "README.md"
REPORTS, ASSIGNMENTS = "report-ready-2023-08.csv", "assignment-status-changed-2023-08.csv"
SETS = [{"patientId": f"patient_{n}", "kitCode": f"KIT{n}", "product": 'reg"ular, č'} for n in (1, 2, 3)]


def sample(event_type, number=1, *, timestamp=None, **data):
    """The vendor's sample with other data, as the hook gets it: the event and its delivery."""
    told = json.loads(files("glycanbridge").joinpath("samples", f"{event_type}.json").read_bytes())
    told["timestamp"] = told["timestamp"] if timestamp is None else timestamp
    told["data"] |= data
    body = json.dumps(told).encode()
    return parse(body), Delivery(
        id=f"event{number}:results-csv",
        event_id=f"event{number}",
        event_type=event_type,
        destination="results-csv",
        attempt=1,
        received_at=datetime(2023, 8, 27, 8, 0, 1, 500_000, tzinfo=UTC),
        body=body,
    )


def deliver(plugin, event_type="report-ready", number=1, **told):
    """Call the hook of the event type; the receipt."""
    event, delivery = sample(event_type, number, **told)
    return getattr(plugin, f"on_{event_type.replace('-', '_')}")(event=event, delivery=delivery)


def rows(path, **reading):
    """What Python's csv reads: a dict for each row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True, **reading))


def ids(path, **reading):
    """The delivery ids in a file, in order."""
    return [row["delivery_id"] for row in rows(path, **reading)]


def child(code, *args, **how):
    """A real process that can import what is in this folder."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], env=env, text=True, **how)
