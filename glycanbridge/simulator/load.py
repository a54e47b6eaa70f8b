"""Many events at a steady rate, and how long each waited for its answer since the moment it was due.

A load that only sends the next event once the last one is answered measures a slow receiver as a fast one, because it
asks less often meanwhile (coordinated omission). So the moments are fixed in advance, and waiting for a free connection
counts. What still waits for one when the load is over, and the time for two answers besides, is not sent any more: that
is an error, and its waiting counts too.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.signature import sign
from glycanbridge.simulator.figures import percentile
from glycanbridge.simulator.posting import LIMIT_S, Answer, Poster
from glycanbridge.simulator.story import PRACTICE

FASTEST_PER_S = 2000
LONGEST_S = 300
MOST_CONNECTIONS = 64
NOT_SENT = "not sent, since no connection was free in time"
LOADED_TYPES = EVENT_TYPES[2:]
"""`kit-received` and `report-ready`, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be sent."""

    url: str
    secret: str
    per_s: float
    seconds: float
    connections: int
    practice: str = PRACTICE
    limit_s: float = LIMIT_S


def run_load(load: Load, *, begin_ms: int) -> dict[str, Any]:
    """Send it and wait for all answers: how many were sent, the rate reached, percentiles, errors by kind.

    Each event is another, and another than those of a load that began at another millisecond.
    """
    events, took_ms, errors = max(1, round(load.per_s * load.seconds)), list[float](), list[str]()
    numbers, begun_s = itertools.count(), time.monotonic()  # count is one step of the interpreter: threads may share it
    ended_s, until_s = [begun_s], begun_s + load.seconds + 2 * load.limit_s

    def send() -> None:
        poster = Poster(load.url, limit_s=load.limit_s, keep_alive=True)
        while (number := next(numbers)) < events:
            due_s = begun_s + number / load.per_s
            body = _body(number, begin_ms, load.practice)
            signature = sign(body, load.secret)
            time.sleep(max(0.0, due_s - time.monotonic()))
            answer = poster.post(body, signature) if time.monotonic() < until_s else Answer(None, error=NOT_SENT)
            now_s = time.monotonic()
            took_ms.append((now_s - due_s) * 1000)
            ended_s.append(now_s)
            if answer.status != 200 or answer.became not in {"accepted", ""}:
                errors.append(_kind(answer))  # one step of the interpreter, too: to add one to a count is three
        poster.close()

    threads = [threading.Thread(target=send, name=f"load-{each}", daemon=True) for each in range(load.connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    lasted_s = max(max(ended_s) - begun_s, 1e-9)
    return _told(load, sorted(took_ms), Counter(errors), lasted_s)


def _told(load: Load, took_ms: list[float], errors: Counter[str], lasted_s: float) -> dict[str, Any]:
    sent = len(took_ms) - errors[NOT_SENT]
    return {
        "sent": sent,
        "wanted_per_s": load.per_s,
        "reached_per_s": round(sent / lasted_s, 1),
        "p50_ms": percentile(took_ms, 50),
        "p99_ms": percentile(took_ms, 99),
        "max_ms": percentile(took_ms, 100),
        "errors": dict(errors),
    }


def _kind(answer: Answer) -> str:
    return answer.error or f"{answer.status} {answer.became}".rstrip()


def _body(number: int, begin_ms: int, practice: str) -> bytes:
    at_ms, mark = begin_ms + number, f"{begin_ms % 1_000_000_000:09}{number:06}"
    kind = LOADED_TYPES[number % len(LOADED_TYPES)]
    data: dict[str, Any] = {
        "testId": f"test_{mark}",
        "kitCode": f"KIT{mark}",
        "patientId": f"patient_{mark}",
        "practiceId": practice,
        "assignmentId": f"assignment_{mark}",
    }
    if kind == "kit-received":
        data |= {"receivedAt": at_ms - 3_200_000, "status": "inAnalysis"}
    else:
        data |= {"reportId": f"report_{mark}", "glycanAge": "45.2", "chronologicalAge": "42"}
        data |= {"reportUrl": f"/reports/report_{mark}", "createdOn": at_ms - 200_000}
    return json.dumps({"type": kind, "timestamp": at_ms, "data": data}).encode()
