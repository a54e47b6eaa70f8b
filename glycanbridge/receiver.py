"""The door in: what GlycanAge sees of the bridge.

One resource takes the webhook and hands raw bytes to `Bridge.accept`; it answers 200 for whatever is kept, and 503 for
whatever cannot be kept now, so that GlycanAge sends it again. Errors are JSON and name no internals.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from functools import partial

import falcon

from glycanbridge.bridge import Bridge
from glycanbridge.errors import DeadLetterError, JournalUnavailable, SignatureError, without_text
from glycanbridge.signature import HEADER
from glycanbridge.turns import aside

log = logging.getLogger(__name__)

App = falcon.App[falcon.Request, falcon.Response]

RETRY_AFTER_S = 5
LARGE_BYTES = 65_536
"""Bodies beyond this take milliseconds to verify and parse: others need not wait for them."""
LOGGED_EVERY_S = 10.0
"""A flood of requests that are refused, or cannot be kept, makes one log line in so many seconds, with the count."""


def create_app(bridge: Bridge, *, path: str, max_body_bytes: int, readiness: Readiness) -> App:
    """The WSGI application: the webhook at `path`, `/healthz` and `/readyz`."""
    app = falcon.App(media_type=falcon.MEDIA_JSON)
    app.req_options.strip_url_path_trailing_slash = True  # a slash too many must not lose an event
    app.set_error_serializer(_serialize_error)
    app.add_error_handler(Exception, _unforeseen)
    app.add_route(path, Webhook(bridge, max_body_bytes, readiness))
    app.add_route("/healthz", Health())
    app.add_route("/readyz", readiness)
    return app


class Readiness:
    """Whether the bridge can take an event now: the journal takes writes, the lanes live, nobody is stopping it."""

    KEPT_S = 1.0
    """How long an answer holds: each look costs a disk sync."""
    REFUSED_FOR_S = 15.0
    """How long an event that could not be kept counts, where none was kept since. A full disk may have room for a probe
    and none for an event; and whoever sends nothing to a bridge that is not ready must not wait for ever."""

    def __init__(self, probe: Callable[[], None], lanes_alive: Callable[[], bool]) -> None:
        self.stopping = False
        self.refused_at = float("-inf")
        """When an event last could not be kept, by the monotonic clock; minus infinity once one has been kept since."""
        self._probe = probe
        self._lanes_alive = lanes_alive
        self._looked_at = float("-inf")
        self._trouble = ""

    def trouble(self) -> str:
        """What keeps the bridge from being ready, in a few words; empty if nothing does."""
        if self.stopping:
            return "stopping"
        if time.monotonic() - self.refused_at < self.REFUSED_FOR_S:
            return "the last event could not be kept"
        if time.monotonic() - self._looked_at > self.KEPT_S:
            self._trouble = self._look()
            self._looked_at = time.monotonic()
        return self._trouble

    def _look(self) -> str:
        if not self._lanes_alive():
            return "a lane has died"
        try:
            self._probe()
        except JournalUnavailable:
            return "the journal takes no writes"
        return ""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 if ready, else 503 and why."""
        trouble = self.trouble()
        if trouble:
            raise falcon.HTTPServiceUnavailable(title="Not ready", description=trouble, retry_after=RETRY_AFTER_S)
        resp.media = {"status": "ready"}

    on_head = on_get


class Health:
    """Whether the process lives."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 always: whoever answers lives."""
        resp.media = {"status": "alive"}

    on_head = on_get


class Webhook:
    """Where GlycanAge posts its events."""

    def __init__(self, bridge: Bridge, max_body_bytes: int, readiness: Readiness) -> None:
        self._bridge = bridge
        self._max_body_bytes = max_body_bytes
        self._readiness = readiness
        self._refused = _Tally("refused: the secret, a proxy that alters bodies, or a stranger")
        self._not_kept = _Tally("answered 503")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 once the event is kept; 401 if it is not GlycanAge's; 503 if it cannot be kept now."""
        if self._readiness.stopping:
            raise _unavailable()
        body = req.stream.read(self._max_body_bytes + 1)  # the server ends it where the body ends
        if len(body) > self._max_body_bytes:
            raise falcon.HTTPContentTooLarge(title="Too large")
        accept = partial(self._bridge.accept, body, req.get_header(HEADER))
        try:
            accepted = aside(accept) if len(body) > LARGE_BYTES else accept()
        except SignatureError as error:
            self._refused.count(error.kind)
            raise falcon.HTTPUnauthorized(title="Unauthorized", description=f"{HEADER} does not fit") from None
        except (JournalUnavailable, DeadLetterError, TimeoutError) as error:
            self._readiness.refused_at = time.monotonic()
            self._not_kept.count(str(error))
            raise _unavailable() from None
        self._readiness.refused_at = float("-inf")
        if accepted.status != "accepted":
            log.info(accepted.status, extra={"event_id": accepted.id})
        resp.data = b'{"status":"%b","id":"%b"}' % (accepted.status.encode(), accepted.id.encode())
        resp.content_type = falcon.MEDIA_JSON

    def on_options(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        """405, like every method but POST (Falcon would answer 200 by itself)."""
        raise falcon.HTTPMethodNotAllowed(["POST"])


class _Tally:
    """Counts what goes wrong, and logs a line for it now and then: a flood must not fill the disk with logs."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._since: dict[str, int] = {}
        self._logged_at = float("-inf")

    def count(self, reason: str) -> None:
        self._since[reason] = self._since.get(reason, 0) + 1
        now = time.monotonic()
        if now - self._logged_at >= LOGGED_EVERY_S:
            self._logged_at, counted, self._since = now, self._since, {}
            log.warning(self._message, extra={"requests": counted})


def _unavailable() -> falcon.HTTPServiceUnavailable:
    return falcon.HTTPServiceUnavailable(
        title="Unavailable", description="The event could not be kept; send it again.", retry_after=RETRY_AFTER_S
    )


def _serialize_error(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """JSON whatever the Accept header asks for: Falcon would answer a browser in XML."""
    allow = resp.get_header("Allow")
    if allow:  # Falcon counts OPTIONS in by itself
        resp.set_header("Allow", ", ".join(each for each in allow.split(", ") if each != "OPTIONS"))
    resp.data = json.dumps({"title": error.title, "description": error.description or error.title}).encode()
    resp.content_type = falcon.MEDIA_JSON


def _unforeseen(_req: falcon.Request, _resp: falcon.Response, error: Exception, _params: object) -> None:
    log.error("answered 500: %s", without_text(error))
    raise falcon.HTTPInternalServerError(title="Internal error", description="The event was not kept; send it again.")
