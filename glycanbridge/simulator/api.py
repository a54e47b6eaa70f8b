"""GlycanAge's API as its page documents it, on loopback: webhooks, report files; and a list of reports besides.

```
with SimulatedApi(approve_after_s=0) as api:
    ...  # the bridge's `glycanage:` has api.base_url, api.email and api.token
    api.add_report(event["data"])
    api.fail_next(HANG)
```
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import falcon

from glycanbridge.http_server import HttpServer, bind
from glycanbridge.simulator.failures import Failure, Failures
from glycanbridge.simulator.pdf import report_pdf
from glycanbridge.simulator.registrations import Refused, Registration, Registrations

EMAIL = "simulator@glycanage.example"
TOKEN = "simulator-token-for-rehearsal"  # noqa: S105 (it opens nothing but the simulator)
LARGEST_BODY_BYTES = 65_536
REPORT = "/reports/"


class SimulatedApi:
    """The API, served in a thread of its own from when it is made until it is closed."""

    def __init__(
        self,
        *,
        email: str = EMAIL,
        token: str = TOKEN,
        approve_after_s: float | None = 3.0,
        host: str = "127.0.0.1",
        port: int = 0,
        page_size: int = 25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`approve_after_s`: 0 is at once, `None` only by `approve`. Raises `ListenError` if it cannot listen."""
        self.email, self.token = email, token
        self._registrations = Registrations(approve_after_s=approve_after_s, clock=clock)
        self._reports: dict[str, dict[str, Any]] = {}
        self._failures = Failures()
        self.asked: list[str] = []
        """Method and path of each request, in order, those that fail too."""
        listening = bind(host, port)
        address, bound = listening.getsockname()[:2]
        self.base_url = f"http://{f'[{address}]' if ':' in address else address}:{bound}"
        """What `glycanage.base_url` has to be."""
        self._server = HttpServer(
            self._app(page_size),
            listening=listening,
            max_body_bytes=LARGEST_BODY_BYTES,
            request_deadline_s=10.0,
            in_turns=False,  # what hangs must hold up nobody else
        )
        listens = threading.Event()
        self._thread = threading.Thread(target=self._server.run, args=(listens.set,), name="simulated-api", daemon=True)
        self._thread.start()
        listens.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Serve no more; what hangs is answered."""
        self._failures.over.set()
        self._server.stop()
        self._thread.join()

    @property
    def registrations(self) -> tuple[Registration, ...]:
        """The webhooks there are, the oldest first."""
        return self._registrations.every()

    @property
    def approved(self) -> tuple[Registration, ...]:
        """Those of them that events are sent to."""
        return self._registrations.approved()

    def approve(self, registration_id: str) -> None:
        """Approve a webhook now, as GlycanAge's team would."""
        self._registrations.approve(registration_id)

    def add_report(self, data: Mapping[str, Any]) -> None:
        """From now on there is this report: `data` is that of its `report-ready` event."""
        self._reports[str(data["reportId"])] = dict(data)

    def fail_next(self, *failures: Failure) -> None:
        """Answer the next requests so, one each: `Failure(status=500)`, `HTML`, `HANG`, `redirect(url)`."""
        self._failures.next.extend(failures)

    def _app(self, page_size: int) -> falcon.App[falcon.Request, falcon.Response]:
        app = falcon.App(media_type=falcon.MEDIA_JSON)
        app.add_middleware([_Asked(self.asked), self._failures, _Basic(self.email, self.token)])
        app.set_error_serializer(_serialize_error)
        app.add_route("/webhooks", _Webhooks(self._registrations))
        app.add_route("/webhooks/{registration_id}", _Webhook(self._registrations))
        app.add_route("/reports", _ReportList(self._reports, page_size))
        app.add_route("/reports/{report_id}", _Report(self._reports))
        return app


class _Asked:
    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        self._asked.append(f"{req.method} {req.relative_uri}")


class _Basic:
    """On every path: "Authorization: Basic {base64_encoded_email:token}"."""

    def __init__(self, email: str, token: str) -> None:
        self._right = b"Basic " + base64.b64encode(f"{email}:{token}".encode())

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        told = (req.get_header("Authorization") or "").encode("latin-1", "replace")
        if not hmac.compare_digest(told, self._right):
            raise falcon.HTTPUnauthorized(description="unknown e-mail address or token", challenges=["Basic"])


class _Webhooks:
    """`POST /webhooks` registers one, `GET /webhooks` lists all."""

    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        try:
            made = self._registrations.add(req.get_media())
        except Refused as error:
            raise falcon.HTTPError(error.status, description=str(error)) from None
        resp.status = falcon.HTTP_201
        resp.media = self._registrations.told(made, pending=True)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = [self._registrations.told(each) for each in self._registrations.every()]


class _Webhook:
    """`DELETE /webhooks/{webhookId}`."""

    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations

    def on_delete(self, _req: falcon.Request, resp: falcon.Response, registration_id: str) -> None:
        if not self._registrations.remove(registration_id):
            raise falcon.HTTPNotFound(description="there is no such webhook")
        resp.status = falcon.HTTP_204


class _Report:
    """`GET /reports/{reportId}`: a `reportUrl`. The page does not say what is there; here it is a PDF."""

    def __init__(self, reports: Mapping[str, Mapping[str, Any]]) -> None:
        self._reports = reports

    def on_get(self, req: falcon.Request, resp: falcon.Response, report_id: str) -> None:
        report = self._reports.get(report_id)
        if report is None:
            raise falcon.HTTPNotFound(description="there is no such report")
        if not req.client_accepts("application/pdf"):
            raise falcon.HTTPNotAcceptable(description="a report is application/pdf")
        resp.data, resp.content_type = report_pdf(report), "application/pdf"


class _ReportList:
    """`GET /reports`: the finished reports, with the fields of their events, a page at a time.

    The vendor documents no such list. This one is made up, so that `glycanbridge reconcile --api` can be rehearsed.
    """

    def __init__(self, reports: Mapping[str, Mapping[str, Any]], page_size: int) -> None:
        self._reports, self._page_size = reports, page_size

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = req.get_param_as_int("page", min_value=1) or 1
        reports = list(self._reports.values())
        end = page * self._page_size
        more = f"/reports?page={page + 1}" if len(reports) > end else None
        resp.media = {"data": reports[end - self._page_size : end], "links": {"next": more}}


def _serialize_error(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """JSON whatever the Accept header asks for."""
    resp.data = json.dumps({"message": error.description or error.title}).encode()
    resp.content_type = falcon.MEDIA_JSON
