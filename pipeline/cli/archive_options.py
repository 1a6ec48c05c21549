"""Give the commands that speak with an archive their common options, and open the archive they name."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from ..pacs.archive import Archive

ARCHIVE = "URL|AE@HOST:PORT"
_TIMEOUT_S = 30.0
_LONGEST_S = 86_400.0  # a day


def add_archive_options(p: argparse.ArgumentParser) -> None:
    """Add the options of a connection."""
    p.add_argument("--calling", default="VERIMASK", metavar="TITLE", help="our own title, for AE@HOST:PORT (VERIMASK)")
    p.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help="limit of every silence: connecting, and each answer (30)",
    )
    p.add_argument("--tls", action="store_true", help="speak TLS with AE@HOST:PORT; a URL says it by https")
    p.add_argument("--ca-file", metavar="PEM", help="authorities of the archive's certificate, instead of the system's")
    p.add_argument("--certificate", metavar="PEM", help="our own certificate with its key, where the archive wants one")


def open_archive(text: str, options: argparse.Namespace) -> Archive:
    """Open the archive that was named; nothing is sent yet.

    Args:
        text: its address, as typed.
        options: of the command.

    Raises: BAD_OPTION, IDLE_OPTION, NO_PACS_PACKAGE.
    """
    from ..core.extras import require_extra
    from ..pacs.address import WebAddress, check_title, parse_address, parse_destination
    from ..pacs.tls import Tls

    address = parse_address(text)
    _check_timeout(options.timeout)
    is_web = isinstance(address, WebAddress)
    if is_web:
        output.refuse_idle(
            options, only=("calling", "move_to", "tls"), why="a URL is asked by DICOMweb, which has no titles"
        )
    is_secure = address.is_secure if isinstance(address, WebAddress) else options.tls
    if not is_secure:
        why = "the connection is not secure: give an https URL, or --tls"
        output.refuse_idle(options, only=("ca_file", "certificate"), why=why)
    title = check_title(options.calling, "--calling")
    move_to = getattr(options, "move_to", None)
    known_as = parse_destination(move_to) if move_to else None
    require_extra("pacs")
    tls = Tls(options.ca_file or "", options.certificate or "")
    if is_secure:
        tls.check()
    if isinstance(address, WebAddress):
        from ..pacs.dicomweb import WebArchive

        return WebArchive(address, tls, options.timeout)
    from ..pacs.dimse import Calling, DimseArchive
    from ..pacs.incoming import Destination

    destination = Destination(*known_as, tls.server_context() if is_secure else None) if known_as else None
    return DimseArchive(address, Calling(title, options.timeout, destination, tls if is_secure else None))


def _check_timeout(seconds: float) -> None:
    from ..core.findings import Code, refuse

    if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_S):
        raise refuse(
            Code.BAD_OPTION,
            f"--timeout {seconds:g} is no number of seconds from more than 0 to {_LONGEST_S:,.0f}",
            "Give one, or leave it out: 30.",
            where=("--timeout",),
        )
