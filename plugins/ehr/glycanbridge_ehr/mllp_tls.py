"""TLS to a receiver of MLLP: always verified, its host name too."""

from __future__ import annotations

import ssl

from glycanbridge import DestinationError
from glycanbridge_ehr.settings_hl7 import MllpSettings


def tls_context(settings: MllpSettings) -> ssl.SSLContext:
    """Made anew for each connection, so that renewed certificates count at once.

    Raises `DestinationError` if a file of ours cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        told = f"ca_file {settings.ca_file}: {_reason(error)}; expected certificates in PEM that the bridge can read"
        raise DestinationError(told) from None
    if settings.certificate_file is None:
        return context
    password = settings.key_password.get_secret_value() if settings.key_password else ""
    try:
        # The password is given in any case: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password)
    except (OSError, ValueError) as error:
        told = f"certificate_file {settings.certificate_file} and key_file {settings.key_file}: {_reason(error)}"
        raise DestinationError(f"{told}; expected a certificate and its key in PEM that the bridge can read") from None
    return context


def refused(where: str, error: Exception) -> DestinationError:
    """What to tell when TLS did not come about: their certificate is not to be trusted, or ours was not enough."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return DestinationError(f"{where}: its certificate is not trusted: {error.verify_message}; nothing was sent")
    told = f"{where}: TLS failed: {_reason(error)}"
    return DestinationError(
        f"{told}; see whether the receiver speaks TLS, and asks for a certificate (certificate_file)"
    )


def _reason(error: Exception) -> str:
    """OpenSSL's or the system's own words, which quote no content."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unreadable").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
