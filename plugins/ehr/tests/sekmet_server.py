"""SEKMET, a FHIR R4 server with a SMART token endpoint, as a program for tests: `sekmet_server.py SETTINGS_JSON`.

It listens on any free port of 127.0.0.1 and prints it. Each line on its standard input is a command in JSON, answered
by a line: `{"clear": true}` forgets every resource, `{"server_auth": {...}}` changes who is let in. It ends with its
input.
"""

import json
import os
import socket
import sys
import threading

import uvicorn
from sekmet.config import ServerAuth, Settings, set_settings
from sekmet.main import create_app


def say(line: object) -> None:
    """Answer whoever started us."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def obey(app, settings) -> None:
    """Do what standard input says, to its end."""
    for line in sys.stdin:
        command = json.loads(line)
        if command.get("clear"):
            app.state.ctx.store.reset()
        if "server_auth" in command:
            settings.server_auth = ServerAuth.model_validate(command["server_auth"])
        say({"done": True})
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    settings = Settings.model_validate_json(sys.argv[1])
    set_settings(settings)
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        say({"port": listening.getsockname()[1]})
        threading.Thread(target=obey, args=(app, settings), daemon=True).start()
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
