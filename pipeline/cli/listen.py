"""Run `verimask listen`: receive what scanners and archives send, and convert each series once it is complete.

Rules:
- It runs until it is stopped (Ctrl-C, SIGTERM), or with --stop-after until nothing comes any more.
- What happens is a line each on standard output, with the time. Nothing of a patient is in it.
- Exit codes of --stop-after are those of `convert` into a folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.policy import Policy
    from ..pacs.listen import Listener, ListenSettings

_DESCRIPTION = """\
Receive images and masks by DICOM (C-STORE), and convert each series once it is complete.

  OUT/received/   what came, byte for byte: STUDY/SERIES/INSTANCE.dcm; verimask cohort reads this folder
  OUT/nifti/      the results, a folder for each series
  OUT/status/     what each series is: by what it was complete, and what came of it

A series is complete when its sender ends its associations, when as many instances are there as it counts, or else when
nothing of it came for --quiet-time. What comes later makes it STALE, and it is made again. Started again on the same
folder it goes on where it was."""
_DEFAULT_QUIET_S, _DEFAULT_FREE_MB = 60.0, 500
_MB = 10**6


def add(commands: Any) -> None:
    """Add the command."""
    p = commands.add_parser(
        "listen",
        help="receive by DICOM, and convert each series once it is complete",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    from .convert_options import add_privacy

    _add_place(p)
    _add_limits(p)
    add_privacy(p)
    output.add_common(p)


def _add_place(p: argparse.ArgumentParser) -> None:
    """Add those that say where it listens, as whom, and to whom."""
    p.add_argument("--port", type=int, required=True, metavar="N", help="to listen at; 104 and 11112 are usual")
    p.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder for all of it; one of listen before, to go on"
    )
    p.add_argument("--ae", default="VERIMASK", metavar="TITLE", help="our title, which senders have to call (VERIMASK)")
    p.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="TITLE@ADDRESS",
        help="who may send: a title and an address or network, * for any title; once for each. By default only this machine",
    )
    p.add_argument(
        "--certificate", metavar="PEM", help="TLS: our certificate with its key, in one file without a password"
    )
    p.add_argument(
        "--ca-file", metavar="PEM", help="TLS: authorities, one of which must have signed a sender's certificate"
    )


def _add_limits(p: argparse.ArgumentParser) -> None:
    """Add those that say how long and how much."""
    p.add_argument(
        "--quiet-time",
        type=float,
        default=_DEFAULT_QUIET_S,
        metavar="SECONDS",
        help=f"without a new instance make a series complete where nothing else says so ({_DEFAULT_QUIET_S:g})",
    )
    p.add_argument(
        "--stop-after",
        type=float,
        metavar="SECONDS",
        help="end when nothing came for so long and everything is converted; by default it goes on until it is stopped",
    )
    p.add_argument(
        "--min-free",
        type=int,
        default=_DEFAULT_FREE_MB,
        metavar="MB",
        help=f"refuse senders while less is free on the disk ({_DEFAULT_FREE_MB})",
    )


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it and return its exit code."""
    from ..pacs.listen import Listener

    listener = Listener(_settings(options), _Log(options))
    listener.run()
    return _end(listener, options)


class _Log:
    """Prints what happened, with the time."""

    def __init__(self, options: argparse.Namespace) -> None:
        from threading import Lock

        self._options, self._lock = options, Lock()

    def __call__(self, words: str) -> None:
        from datetime import datetime

        if not self._options.json:
            with self._lock:  # associations have threads of their own
                output.print_lines([f"{datetime.now():%Y-%m-%d %H:%M:%S}  {words}"], self._options)


def _settings(options: argparse.Namespace) -> ListenSettings:
    """What was asked for. Raises BAD_OPTION, IDLE_OPTION."""
    from ..core.arguments import bad_option, check_whole
    from ..pacs.listen import ListenSettings
    from ..pacs.receiver import ReceiverSettings
    from ..pacs.receiver_access import check_title, parse_senders
    from ..pacs.receiver_tls import make_context

    if not 0 <= options.port < 1 << 16:
        raise bad_option("--port", options.port, "0 (any that is free) to 65535")
    check_whole("--min-free", options.min_free, 0)
    for name, value in (("--quiet-time", options.quiet_time), ("--stop-after", options.stop_after)):
        if value is not None and not 0 < value < float("inf"):
            raise bad_option(name, value, "a number of seconds above 0")
    if options.ca_file and not options.certificate:
        output.refuse_idle(options, only=("ca_file",), why="without --certificate there is no TLS")
    tls = make_context(options.certificate, options.ca_file) if options.certificate else None
    title = check_title("--ae", options.ae)
    receiver = ReceiverSettings(options.port, title, parse_senders(options.allow), tls)
    free_bytes = options.min_free * _MB
    out = Path(options.output)
    return ListenSettings(receiver, out, _policy(options), options.quiet_time, free_bytes, options.stop_after)


def _policy(options: argparse.Namespace) -> Policy:
    from ..core.policy import Policy

    return Policy(write="skip", keep_names=options.keep_names, strip=options.strip)


def _end(listener: Listener, options: argparse.Namespace) -> int:
    """Print the facts where they are wanted as JSON, and return the exit code."""
    from ..core.findings import Exit

    records = listener.records()
    if options.json:
        output.print_json({"Series": [{"Name": series.name, **record.as_json(series)} for series, record in records]})
    refused = [error for _, record in records for error in record.report.refused]
    verdicts = [verdict for _, record in records for verdict in record.report.verdicts]
    codes = [int(Exit.DISPUTED if verdict == "DISPUTED" else Exit.VERIFIED) for verdict in verdicts]
    if not refused and any(record.state == "REFUSED" for _, record in records):  # by a run before
        return int(Exit.PARTLY_DONE)
    return output.exit_of_many(codes, refused)
