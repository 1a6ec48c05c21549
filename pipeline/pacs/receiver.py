"""Receive instances by C-STORE: an association server of pynetdicom that writes them to a folder and tells what came.

Rules:
- Whoever may not send is refused at the association, with the reason of PS3.8 table 9-21; and everybody, for the time being,
  while the disk is full.
- Every wait has a limit: for the request of an association, for its next message, and for its end.
- What is said of a sender is its title and address. Nothing of what it sends is said, and no word of pynetdicom shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ssl import SSLContext
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..core.findings import Code, refuse
from .connection import UnaskedConnections, fence_threads
from .receiver_access import AllowedSenders
from .receiver_store import CANNOT_UNDERSTAND, SUCCESS, InstanceFacts, NotKept, ReceivedFolder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association
    from pynetdicom.events import Event

MOST_ASSOCIATIONS = 32  # at the same time
_PDU = 1 << 17  # bytes of one P-DATA: as much as DCMTK sends at once; pynetdicom takes 16 kB at a time by default
_REQUEST_S, _NETWORK_S = 30.0, 60.0  # for an association to be asked for, and between two of its messages

# result, source, reason (PS3.8 table 9-21)
_WRONG_CALLED, _WRONG_CALLING, _NO_REASON = (1, 1, 7), (1, 1, 3), (1, 1, 1)
_LOCAL_LIMIT = (2, 3, 2)

_patch_lock = Lock()


class ReceiverSettings(NamedTuple):
    """How to listen. title: of ours. port: 0 for any that is free. tls: None for none."""

    port: int
    title: str
    allowed: AllowedSenders
    tls: SSLContext | None = None


class ReceiverEvents(Protocol):
    """What a receiver tells, from threads of its own."""

    def began(self, association: int, sender: str) -> None:
        """An association began. sender: its title and address."""

    def kept(self, association: int, facts: InstanceFacts, *, is_new: bool) -> None:
        """An instance has its place, and its sender will be told so afterwards.

        Args:
            association: that brought it.
            facts: what it says of itself.
            is_new: whether it was not here before.

        Returns: nothing.
        """

    def ended(self, association: int, *, in_order: bool) -> None:
        """An association ended: released by its sender, or broken off by anything else."""

    def refused(self, sender: str, why: str) -> None:
        """An association or an instance was refused."""


class Receiver:
    """A server that runs from `start` to `stop`. port: that it listens at."""

    def __init__(self, settings: ReceiverSettings, folder: ReceivedFolder, events: ReceiverEvents) -> None:
        """Prepare it.

        Args:
            settings: how to listen.
            folder: that instances are put into.
            events: what is told of them.
        """
        self.port = settings.port
        self._settings, self._folder, self._events = settings, folder, events
        self._associations: dict[int, Association] = {}
        self._lock = Lock()
        self._entity: Any = None
        self._unasked = UnaskedConnections(_REQUEST_S, events.refused, self._group_of)
        self._restore = ExitStack()

    @property
    def host(self) -> str:
        """The address that it listens at: of this machine alone, unless another is allowed."""
        return "127.0.0.1" if self._settings.allowed.is_local else "0.0.0.0"

    def start(self) -> None:
        """Begin to listen. Raises BAD_OPTION where the port cannot be had."""
        from pynetdicom import evt

        handlers = [
            *self._unasked.handlers(),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
        ]
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
        self._restore.callback(_write_to(self._folder))
        self._restore.enter_context(fence_threads(self._failed))
        self._entity = _make_entity(self._settings.title)
        try:
            server = self._entity.start_server(
                (self.host, self._settings.port),
                block=False,
                evt_handlers=handlers,
                ssl_context=self._settings.tls,
            )
        except OSError as error:
            self._restore.close()
            why = f"port {self._settings.port} of --port cannot be listened at: {error.strerror or error}"
            raise refuse(Code.BAD_OPTION, why, "Give one that is free, above 1023.", where=("--port",)) from error
        self._unasked.guard(server)
        self.port = server.server_address[1]

    def stop(self) -> None:
        """End every association and listen no more."""
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = None
            self._restore.close()

    def _failed(self, association: Association) -> None:
        self._events.refused(_sender_of(association), "a message that is none of DICOM's ended its association")

    def look(self) -> None:
        """Tell of associations that ended without a word, as where their thread died."""
        with self._lock:
            dead = [number for number, association in self._associations.items() if not association.is_alive()]
        for number in dead:
            self._end(number, in_order=False)

    def _group_of(self, address: str) -> str:
        """What connections are counted by: the address of who may send, and all strangers together."""
        return address if self._settings.allowed.knows(address) else ""

    def _requested(self, event: Event) -> None:
        """Judge an association that is asked for."""
        association = event.assoc
        request: Any = association.requestor.primitive
        title, called = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        address = str(association.requestor.address)
        sender = f"{title} at {address}"
        reason, why = self._judge(title, called, address)
        if reason is not None:
            self._events.refused(sender, why)
            association.acse.send_reject(*reason)
            association.kill()
            return
        with self._lock:
            self._associations[id(association)] = association
        self._events.began(id(association), sender)

    def _judge(self, title: str, called: str, address: str) -> tuple[tuple[int, int, int] | None, str]:
        """The reason that an association is rejected for, None for none; and the same in words."""
        judgement = self._settings.allowed.judge(title, address)
        if judgement == "address":
            return _NO_REASON, "its address is not allowed"
        if judgement == "title":
            return _WRONG_CALLING, "its title is not allowed"
        if called != self._settings.title:
            return _WRONG_CALLED, f"it called {called or 'nobody'}, and this is {self._settings.title}"
        if not self._folder.has_space():
            return _LOCAL_LIMIT, "the disk is full"
        if len(self._associations) >= MOST_ASSOCIATIONS:
            return _LOCAL_LIMIT, f"there are {MOST_ASSOCIATIONS} associations already"
        return None, ""

    def _store(self, event: Event) -> int | Dataset:
        """Keep an instance, and return the status for it."""
        request: Any = event.request
        number = id(event.assoc)
        try:
            if (content := getattr(request, "_dataset_file", None)) is None:
                raise NotKept(CANNOT_UNDERSTAND, "it has no data set")
            facts, is_new = self._folder.keep(content, str(request.AffectedSOPInstanceUID))
            self._events.kept(number, facts, is_new=is_new)
        except NotKept as error:
            self._events.refused(_sender_of(event.assoc), f"an instance was not kept: {error}")
            return _failure(error.status, str(error))
        except Exception as error:  # pynetdicom would answer, and go on; its words may hold what was sent
            words = f"an instance was not kept: an error of this program ({type(error).__name__})"
            self._events.refused(_sender_of(event.assoc), words)
            return CANNOT_UNDERSTAND
        return SUCCESS

    def _released(self, event: Event) -> None:
        self._end(id(event.assoc), in_order=True)

    def _aborted(self, event: Event) -> None:
        self._end(id(event.assoc), in_order=False)

    def _end(self, number: int, *, in_order: bool) -> None:
        with self._lock:
            association = self._associations.pop(number, None)
        if association is None:
            return
        if half := getattr(association.dimse.message, "_data_set_file", None):
            half.close()  # it will never be whole
        self._events.ended(number, in_order=in_order)


def _make_entity(title: str) -> Any:
    from pynetdicom import AllStoragePresentationContexts
    from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    entity = ApplicationEntity(title)
    entity.acse_timeout = entity.dimse_timeout = _REQUEST_S
    entity.network_timeout = _NETWORK_S
    entity.maximum_pdu_size = _PDU
    entity.maximum_associations = 1 << 30  # ours counts those that were let in
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax or "", ALL_TRANSFER_SYNTAXES)
    entity.add_supported_context(Verification)
    return entity


def _write_to(folder: ReceivedFolder) -> Callable[[], None]:
    """Have pynetdicom write instances to files of ours as they come. Returns what ends that.

    It has a setting for that, and then makes a temporary file by a name of its module: on whatever disk the system has for
    those, and a disk that is full would end the association without an answer.
    """
    from pynetdicom import _config, dimse_messages

    with _patch_lock:
        before = dimse_messages.NamedTemporaryFile, _config.STORE_RECV_CHUNKED_DATASET
        dimse_messages.NamedTemporaryFile = lambda **_: folder.incoming()  # type: ignore[assignment]
        _config.STORE_RECV_CHUNKED_DATASET = True

    def restore() -> None:
        with _patch_lock:
            dimse_messages.NamedTemporaryFile, _config.STORE_RECV_CHUNKED_DATASET = before

    return restore


def _failure(status: int, words: str) -> Dataset:
    from pydicom.dataset import Dataset

    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = words[:64]  # as long as a value of LO may be
    return answer


def _sender_of(association: Association) -> str:
    title = ""
    with suppress(AttributeError):
        title = str(association.requestor.ae_title).strip()
    return f"{title} at {association.requestor.address}"
