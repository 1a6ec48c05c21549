"""Make connections to an archive secure, by the means of Python's ssl and of `requests`.

Rules:
- The archive's certificate is always checked, against the system's authorities or a file of them. Nothing turns that off.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, refuse


class Tls(NamedTuple):
    """What a secure connection is made with. authorities: PEM, "" for the system's. certificate: PEM of ours with its key."""

    authorities: str = ""
    certificate: str = ""

    def check(self) -> None:
        """Read both files. Raises BAD_OPTION where one cannot be."""
        self.context()

    def context(self) -> ssl.SSLContext:
        """For a connection of DIMSE. Raises BAD_OPTION."""
        try:
            context = ssl.create_default_context(cafile=self.authorities or None)
        except (OSError, ssl.SSLError) as error:
            raise refuse(
                Code.BAD_OPTION,
                f"--ca-file {Path(self.authorities).name} holds no certificates: {error.strerror or 'not PEM'}",
                "Give the certificates of the authorities that the archive's one is signed by, as PEM.",
                where=("--ca-file",),
            ) from error
        if self.certificate:
            self._load_own(context)
        return context

    def server_context(self) -> ssl.SSLContext:
        """For the connections that the archive opens to us (C-MOVE), where its certificate is checked too. Raises BAD_OPTION."""
        from .receiver_tls import make_context

        if not self.certificate:
            raise refuse(
                Code.BAD_OPTION,
                "--move-to with --tls needs --certificate: the archive connects to us, and has to see who we are",
                "Give one that the archive trusts, with its key, or leave --move-to out.",
                where=("--move-to", "--certificate"),
            )
        context = make_context(self.certificate, self.authorities or None)
        if not self.authorities:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _load_own(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, password="")  # a key with a password would ask for it here
        except (OSError, ssl.SSLError) as error:
            raise refuse(
                Code.BAD_OPTION,
                f"--certificate {Path(self.certificate).name} cannot be used: {error.strerror or 'not PEM'}",
                "Give one PEM file with the certificate and its key, without a password.",
                where=("--certificate",),
            ) from error
