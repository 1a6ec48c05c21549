"""Take the instances that an archive sends to us, over its own association (C-GET) or over one of ours to listen at (C-MOVE).

Rules:
- Only what was asked for is taken, and each once; anything else is answered with a failure and goes nowhere.
- We listen for the time of one retrieval, at the address by which the archive is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from ..core.findings import Code, refuse
from .archive import KeepInstance
from .connection import MOST_UNASKED, UnaskedConnections, fence_threads

if TYPE_CHECKING:
    from pynetdicom.events import Event

_SUCCESS, _NOT_ASKED_FOR, _OUT_OF_RESOURCES = 0x0000, 0xA900, 0xA700


class Destination(NamedTuple):
    """Where a C-MOVE sends to. title, port: that the archive knows us by. tls: for its connections; None for none."""

    title: str
    port: int
    tls: SSLContext | None = None


class IncomingInstances:
    """Those that are waited for. failure: what kept one from being kept; it ends the retrieval."""

    def __init__(self, wanted: set[str], keep: KeepInstance) -> None:
        self.failure: Exception | None = None
        self._wanted, self._keep = wanted, keep
        self._one_at_a_time = Lock()

    def take(self, event: Event) -> int:
        """Take one instance, and return the status of DIMSE for it."""
        with self._one_at_a_time:  # an archive may send over several associations
            return self._take(event)

    def _take(self, event: Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)  # type: ignore[union-attr]
        if uid not in self._wanted:
            return _NOT_ASKED_FOR
        if self.failure is not None:
            return _OUT_OF_RESOURCES
        try:
            self._keep(uid, [event.encoded_dataset()])
        except Exception as error:  # pynetdicom would log it, and go on
            self.failure = error
            return _OUT_OF_RESOURCES
        self._wanted.discard(uid)
        return _SUCCESS

    @contextmanager
    def receiving(self, destination: Destination, host: str, timeout_s: float) -> Iterator[None]:
        """Listen while the block runs.

        Args:
            destination: what the archive knows us by.
            host: our own address.
            timeout_s: for the negotiation and every silence, in s.

        Yields: once it listens.

        Raises: BAD_OPTION where the port cannot be had.
        """
        from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
        from pynetdicom.ae import ApplicationEntity

        entity = ApplicationEntity(destination.title)
        entity.require_called_aet = True
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = timeout_s
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax or "", ALL_TRANSFER_SYNTAXES)
        entity.maximum_associations = 2 * MOST_UNASKED
        unasked = UnaskedConnections(timeout_s, lambda *_: None)
        handlers = [*unasked.handlers(), (evt.EVT_C_STORE, self.take)]
        try:
            server = entity.start_server(
                (host, destination.port), block=False, evt_handlers=handlers, ssl_context=destination.tls
            )
        except OSError as error:
            why = f"port {destination.port} of --move-to cannot be listened at: {error.strerror}"
            raise refuse(Code.BAD_OPTION, why, "Give one that is free.", where=("--move-to",)) from error
        unasked.guard(server)
        try:
            with fence_threads():
                yield
        finally:
            if server is not None:
                server.shutdown()
