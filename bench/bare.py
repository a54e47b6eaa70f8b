"""A receiver that keeps nothing: reads the body, answers 200. What it reaches is what the HTTP server alone allows.

`python -m bench.bare` serves it by our own `HttpServer`, on any free port, until SIGTERM or SIGINT.
"""

from __future__ import annotations

import signal
from types import FrameType

import falcon

from bench.folder import HOST, PATH
from glycanbridge.http_server import HttpServer, bind

ANSWER = b'{"status":"accepted","id":"%b"}' % (b"0" * 64)  # as long as the bridge's own


class Bare:
    """Answers every POST alike."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 for whatever came."""
        req.bounded_stream.read()
        resp.data = ANSWER
        resp.content_type = falcon.MEDIA_JSON


def main() -> None:
    app = falcon.App[falcon.Request, falcon.Response](media_type=falcon.MEDIA_JSON)
    app.add_route(PATH, Bare())
    listening = bind(HOST, 0)
    port = listening.getsockname()[1]
    server = HttpServer(app, listening=listening, max_body_bytes=1_048_576, request_deadline_s=10)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(lambda: print(f"listening on http://{HOST}:{port}{PATH}", flush=True))


if __name__ == "__main__":
    main()
