"""Take the instances that an archive sends to us, over its own association (C-GET) or over one of ours to listen at (C-MOVE).

Rules:
- Only what was asked for is taken, and each once; anything else is answered with a failure and goes nowhere.
- We listen for the time of one retrieval, at the address by which the archive is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from ..core.findings import Code, refuse
from .archive import KeepInstance

if TYPE_CHECKING:
    from pynetdicom.events import Event

_SUCCESS, _NOT_ASKED_FOR, _OUT_OF_RESOURCES = 0x0000, 0xA900, 0xA700


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
    def receiving(self, title: str, host: str, port: int, timeout_s: float) -> Iterator[None]:
        """Listen while the block runs.

        Args:
            title: that we are called by.
            host: our own address.
            port: to listen at.
            timeout_s: for the negotiation and every silence, in s.

        Yields: once it listens.

        Raises: BAD_OPTION where the port cannot be had.
        """
        from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
        from pynetdicom.ae import ApplicationEntity

        entity = ApplicationEntity(title)
        entity.require_called_aet = True
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = timeout_s
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax or "", ALL_TRANSFER_SYNTAXES)
        try:
            server = entity.start_server((host, port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.take)])
        except OSError as error:
            why = f"port {port} of --move-to cannot be listened at: {error.strerror}"
            raise refuse(Code.BAD_OPTION, why, "Give one that is free.", where=("--move-to",)) from error
        try:
            yield
        finally:
            if server is not None:
                server.shutdown()
