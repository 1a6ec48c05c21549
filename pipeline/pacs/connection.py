"""Read from the connections that others open to us, in place of pynetdicom's own way.

Rules:
- What there is is read in large pieces: pynetdicom takes 4 kB at a time, and a quarter more time.
- A message that ends a thread of pynetdicom ends its association; no traceback, which may hold what was sent, is printed.
- Connections that ask for nothing are counted by who opened them. One that ends is forgotten at once.
- A PDU has a limit of time, however its bytes come, and one of length: nobody may hold a thread for good, or decide how much memory
  it takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ssl import SSLError
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

MOST_UNASKED = 64  # connections of one group that have not asked for an association
_LONGEST_PDU = 1 << 20  # bytes of any: what asks for an association has no size to keep to, and takes some kilobytes


def read_at_once(association: Association, limit_s: float) -> None:
    """Have an association read its connection so. limit_s: for the beginning of a PDU, and again for the rest of it."""
    connection: Any = association.dul.socket
    connection.failure = None

    def receive(length: int) -> bytearray:
        if length > _LONGEST_PDU:
            raise OSError(f"a PDU of {length} bytes, of at most {_LONGEST_PDU}")
        content = bytearray(length)
        room, had, end = memoryview(content), 0, monotonic() + limit_s
        while had < length:
            if (left := end - monotonic()) <= 0:
                raise TimeoutError(f"a PDU that is not whole after {limit_s:g} s")
            connection.socket.settimeout(left)
            try:
                count = connection.socket.recv_into(room[had:])
            except OSError as error:
                connection.failure = error  # for whoever wants to know why it ended
                raise
            if not count:
                return content[:had]
            had += count
        connection.socket.settimeout(limit_s)  # what is sent next has all of it
        return content

    connection.recv = receive


class UnaskedConnections:
    """The connections of a server that have not asked for an association: no number of them keeps others out."""

    def __init__(
        self, limit_s: float, refused: Callable[[str, str], None], group_of: Callable[[str], str] = str
    ) -> None:
        """Begin with none.

        Args:
            limit_s: for each of their PDUs, and those that come later; see `read_at_once`.
            refused: is told an address, and why a connection from there came to nothing.
            group_of: what a connection counts for, by its address.
        """
        self._limit_s, self._refused, self._group_of = limit_s, refused, group_of
        self._open: dict[int, tuple[Association, str]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._open)

    def handlers(self) -> list[Any]:
        """The handlers of pynetdicom's events, for those of the server."""
        from pynetdicom import evt

        asked = (evt.EVT_REQUESTED, lambda event: self._forget(event.assoc))
        return [(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_CONN_CLOSE, self._closed), asked]

    def guard(self, server: Any) -> None:
        """Have a server ask whether a connection is let in."""
        server.verify_request = self._may_wait

    def _may_wait(self, _: Any, address: Any) -> bool:
        group = self._group_of(str(address[0]))
        with self._lock:
            for number in [n for n, (one, _) in self._open.items() if one.ident is not None and not one.is_alive()]:
                del self._open[number]
            waiting = sum(one == group for _, one in self._open.values())
        if waiting >= MOST_UNASKED:
            self._refused(str(address[0]), f"{waiting} connections that ask for nothing are open already")
        return waiting < MOST_UNASKED

    def _opened(self, event: Event) -> None:
        association = event.assoc
        read_at_once(association, self._limit_s)
        with self._lock:
            self._open[id(association)] = association, self._group_of(str(association.requestor.address))

    def _closed(self, event: Event) -> None:
        """Forget a connection that ended before it asked: pynetdicom would wait until its time is over."""
        association = event.assoc
        if not self._forget(association):
            return
        if isinstance(getattr(association.dul.socket, "failure", None), SSLError):
            address = str(association.requestor.address)
            self._refused(address, "no TLS came about: it has none, or not what we trust")
        association.dul.to_user_queue.put(None)  # type: ignore[arg-type]

    def _forget(self, association: Association) -> bool:
        with self._lock:
            return self._open.pop(id(association), None) is not None


@contextmanager
def fence_threads(ended: Callable[[Association], None] = lambda _: None) -> Iterator[None]:
    """Have threads of pynetdicom end without a traceback while the block runs.

    Args:
        ended: is told the association of a thread that an error ended.
    """
    from pynetdicom.association import Association

    before = threading.excepthook

    def end(failed: threading.ExceptHookArgs) -> None:
        association = getattr(failed.thread, "assoc", failed.thread)
        if not isinstance(association, Association):
            before(failed)
            return
        ended(association)
        connection: Any = association.dul.socket
        association.kill()
        with suppress(Exception):  # it may be closed already
            connection.close()

    threading.excepthook = end
    try:
        yield
    finally:
        if threading.excepthook is end:
            threading.excepthook = before
