"""Read from the connections that others open to us, in place of pynetdicom's own way.

Rules:
- What there is is read in large pieces: pynetdicom takes 4 kB at a time, and a quarter more time.
- A message that ends a thread of pynetdicom ends its association; no traceback, which may hold what was sent, is printed.
- A PDU has a limit of time, however its bytes come, and one of length: nobody may hold a thread for good, or decide how much memory
  it takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynetdicom.association import Association

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


def fence_threads(ended: Callable[[Association], None]) -> Callable[[], None]:
    """Have threads of pynetdicom end without a traceback.

    Args:
        ended: is told the association of a thread that an error ended.

    Returns: what undoes it.
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

    def restore() -> None:
        if threading.excepthook is end:
            threading.excepthook = before

    threading.excepthook = end
    return restore
