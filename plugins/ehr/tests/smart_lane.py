"""A lane as a process: `smart_lane.py KEY_FILE FHIR_URL STATE`. It says a line, waits for one, and asks once."""

import sys
from pathlib import Path

from glycanbridge_ehr.settings_smart import SmartSettings
from smart_site import CLIENT_ID, lane

key_file, fhir_url, state = sys.argv[1:]
settings = SmartSettings(client_id=CLIENT_ID, key_file=Path(key_file))
with lane(settings, fhir_url=fhir_url, state=Path(state)) as client:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(client.get(f"{fhir_url}/Patient/1").status_code, flush=True)  # noqa: T201
