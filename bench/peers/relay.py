"""hookrelay as its README sets it up, on FastAPI, uvicorn and SQLite: `python relay.py SECRET_FILE JOURNAL`.

Its worker, which would deliver, does not run: what is measured is receiving and recording.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from hookrelay.backends.sqlite import SQLiteBackend
from hookrelay.fastapi import create_webhook_router
from sqlalchemy.ext.asyncio import create_async_engine


async def serve(secret: bytes, journal: str) -> None:
    """Until SIGTERM or SIGINT, on any free port."""

    def verify(body: bytes, headers: Mapping[str, str]) -> bool:
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, headers.get("x-glycanage-signature", ""))

    def key(payload: dict[str, Any]) -> str:
        return f"{payload['type']}-{payload['timestamp']}"

    backend = SQLiteBackend(create_async_engine(f"sqlite+aiosqlite:///{journal}"))
    await backend.init_schema()
    app = FastAPI()
    app.include_router(
        create_webhook_router(
            backend=backend, source="glycanage", path="/glycanage", verify_signature=verify, idempotency_key=key
        ),
        prefix="/webhooks",
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}/webhooks/glycanage", flush=True)
    await uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).serve([listening])


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_bytes(), sys.argv[2]))
