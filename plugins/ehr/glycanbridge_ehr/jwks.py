"""Prints the public half of a key, as an EHR wants it to let the bridge in: `python -m glycanbridge_ehr.jwks KEY.pem`.

A second argument is what the EHR is to call the key (`kid`), if not its thumbprint. Nothing that it prints is a secret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from glycanbridge import DestinationError
from glycanbridge_ehr.settings_smart import SmartSettings
from glycanbridge_ehr.smart_key import signing_key


def main(arguments: list[str]) -> int:
    """Print it; the exit code: 0 done, 1 the key cannot be used, 2 wrong usage."""
    if len(arguments) not in {1, 2}:
        sys.stderr.write("usage: python -m glycanbridge_ehr.jwks KEY.pem [KID]\n")
        return 2
    file, kid = Path(arguments[0]), arguments[1] if len(arguments) > 1 else None
    try:
        key = signing_key(SmartSettings(client_id="any", key_file=file, kid=kid))
    except DestinationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"keys": [key.public]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
