"""Make the TLS of a receiver, by the means of Python's ssl.

Rules:
- A handshake waits for nobody but the thread of its own association: pynetdicom would make it where it takes connections.
- With authorities given, a sender without a certificate that one of them signed is refused in the handshake.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from ..core.findings import Code, PipelineError, refuse


class _LaterHandshake(ssl.SSLContext):
    """Wraps a connection at once, and leaves its handshake to whoever first reads from it."""

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        return super().wrap_socket(sock, *args, **{**options, "do_handshake_on_connect": False})


def make_context(certificate: str, authorities: str | None) -> ssl.SSLContext:
    """Make the context of a server.

    Args:
        certificate: PEM of ours, with its key.
        authorities: PEM of those that senders' certificates are signed by; None where they need none.

    Raises: PipelineError BAD_OPTION.
    """
    context = _LaterHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # what the profiles of PS3.15 annex B begin with
    try:
        context.load_cert_chain(certificate, password="")  # a key with a password would ask for it here
    except (OSError, ssl.SSLError) as error:
        raise _unusable("--certificate", certificate, error, "a certificate and its key, without a password") from error
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("--ca-file", authorities, error, "the certificates of authorities") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable(option: str, path: str, error: OSError, wanted: str) -> PipelineError:
    why = f"{option} {Path(path).name} cannot be used: {error.strerror or 'not PEM'}"
    return refuse(Code.BAD_OPTION, why, f"Give one PEM file with {wanted}.", where=(option,))
