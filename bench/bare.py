"""A receiver that keeps nothing: reads the body, answers 200. What it reaches is what the HTTP server alone allows.

`python -m bench.bare` serves it by waitress as it comes, `python -m bench.bare --tuned` by our own `HttpServer`; on any
free port, until SIGTERM or SIGINT.
"""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

import falcon
from waitress.server import create_server

from bench.folder import HOST, PATH
from glycanbridge.http_server import HttpServer, bind

ANSWER = b'{"status":"accepted","id":"%b"}' % (b"0" * 64)  # as long as the bridge's own
THREADS = 8
CONNECTIONS = 1000
App = falcon.App[falcon.Request, falcon.Response]


class Bare:
    """Answers every POST alike."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 for whatever came."""
        req.bounded_stream.read()
        resp.data = ANSWER
        resp.content_type = falcon.MEDIA_JSON


def main() -> None:
    app = App(media_type=falcon.MEDIA_JSON)
    app.add_route(PATH, Bare())
    serve = tuned if sys.argv[1:] == ["--tuned"] else as_it_comes
    serve(app)


def as_it_comes(app: App) -> None:
    """By waitress with its defaults, but for 8 threads instead of 4 and for room for all connections."""
    # It warns for each request that waits for a thread: only that would cost it a third of its rate.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = create_server(app, host=HOST, port=0, threads=THREADS, connection_limit=CONNECTIONS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # waitress ends in order at KeyboardInterrupt
    print(f"listening on http://{HOST}:{server.effective_port}{PATH}", flush=True)
    server.run()


def tuned(app: App) -> None:
    """By the HTTP server of the bridge."""
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
