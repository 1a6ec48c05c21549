"""Ask an archive by DIMSE: C-FIND, C-GET or C-MOVE, and C-STORE.

Rules:
- Every request has an association of its own, and each has a time limit: for the connection, for its negotiation, for each
  answer, and for each silence.
- For each class and transfer syntax there is a presentation context of its own, so that a file comes as it is stored. An
  instance is in memory while it comes, since pynetdicom gathers it there.
- A file is sent once, as its bytes are. Sending it again later is safe: it has the same SOP Instance UID.
- Comments of an archive (0000,0902) are neither shown nor recorded: they may name a patient.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from .address import DimseAddress
from .archive import (
    ArchiveInstance,
    ArchiveSeries,
    KeepInstance,
    OutgoingFile,
    StoreAnswer,
    instance_in,
    odd_answer,
    refuse_endless,
    refused,
    series_in,
    unreached,
)
from .connection import fence_threads
from .incoming import Destination, IncomingInstances
from .tls import Tls

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_MOST_CONTEXTS = 128  # of one association (PS3.8 9.3.2.2)
_PDU = 1 << 17  # bytes that the archive may send at once: larger ones are quicker
_UIDS_AT_ONCE = 100  # in one request: 6 kB of UIDs
_PENDING = (0xFF00, 0xFF01)
_SUCCESS, _SOME_FAILED = 0x0000, 0xB000
_REJECTED = (1, 2)  # permanently, for now (PS3.8 table 9-21)
_STORED_WITH_WARNING = (0xB000, 0xB006, 0xB007)  # PS3.4 table B.2-1
_NOT_TAKEN = "0122"  # SOP class not supported (PS3.7 annex C): no presentation context was accepted for it
_MODEL = "1.2.840.10008.5.1.4.1.2.2."  # Study Root: 1 FIND, 2 MOVE, 3 GET
_CLASSES = "1.2.840.10008.5.1.4.1.1."
# What is asked for where an archive does not say of what class its instances are: images, masks and structure sets.
_COMMON = [f"{_CLASSES}{n}" for n in ("2", "2.1", "4", "4.1", "128", "130", "7", "66.4", "66.7", "481.3")]
# As a file may be stored; the plain ones first.
_SYNTAXES = [
    f"1.2.840.10008.1.2{more}" for more in ".1||.4.70|.4.90|.4.80|.5|.4.91|.4.50|.4.51|.4.57|.4.81|.1.99|.2".split("|")
]
_TITLES = "Check its title and ours (AE@HOST:PORT, --calling): an archive often takes only those it knows."
_MOVE = "Give --move-to AE:PORT, a title that the archive knows this machine by: it sends there (C-MOVE)."


class Calling(NamedTuple):
    """Who calls. title: of ours. destination: for C-MOVE; None for C-GET. tls: None for none."""

    title: str
    timeout_s: float
    destination: Destination | None = None
    tls: Tls | None = None


class DimseArchive:
    """An archive that speaks DIMSE. Raises as `Archive` says."""

    def __init__(self, address: DimseAddress, calling: Calling) -> None:
        self.shown = address.shown
        self._address, self._calling = address, calling
        self._tls = calling.tls.context() if calling.tls else None

    def __enter__(self) -> DimseArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Associations end with their requests."""

    def find_series(self, study_uid: str, series_uid: str = "") -> list[ArchiveSeries]:
        """As `Archive`. Not every archive finds a series of any study (relational queries)."""
        keys = {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        found = map(series_in, self._find(keys | {"Modality": "", "NumberOfSeriesRelatedInstances": None}))
        return [s for s in found if study_uid in ("", s.study_uid) and series_uid in ("", s.uid)]

    def list_instances(self, series: ArchiveSeries) -> list[ArchiveInstance]:
        """As `Archive`."""
        keys = _keys_of(series)
        return [instance_in(answer) for answer in self._find(keys | {"SOPInstanceUID": "", "SOPClassUID": ""})]

    def retrieve(self, series: ArchiveSeries, instances: Sequence[ArchiveInstance], keep: KeepInstance) -> None:
        """As `Archive`: many in one request, since each is an association.

        Args:
            series: that they are of.
            instances: of it, each once.
            keep: takes each as it comes.
        """
        for start in range(0, len(instances), _UIDS_AT_ONCE):
            some = instances[start : start + _UIDS_AT_ONCE]
            incoming = IncomingInstances({instance.uid for instance in some}, keep)
            identifier = _identifier(_keys_of(series) | {"SOPInstanceUID": [instance.uid for instance in some]})
            if self._calling.destination is None:
                self._get(identifier, sorted({i.sop_class_uid for i in some} - {""}), incoming)
            else:
                self._move(identifier, self._calling.destination, incoming)

    def store(self, files: Sequence[OutgoingFile]) -> Iterator[StoreAnswer]:
        """As `Archive`."""
        from pynetdicom import _config
        from pynetdicom.presentation import build_context

        kinds = sorted({(file.sop_class_uid, file.transfer_syntax_uid) for file in files})[:_MOST_CONTEXTS]
        _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, read as they are sent
        with self._association([build_context(*kind) for kind in kinds], may_take_nothing=True) as association:
            for file in files:
                try:
                    if not association.accepted_contexts:
                        raise ValueError("there is none for any file")
                    status = association.send_c_store(file.path).get("Status")
                except ValueError:  # it has no presentation context
                    yield StoreAnswer(file.uid, False, _NOT_TAKEN, "not taken: its class or its transfer syntax")
                    continue
                except RuntimeError:  # the association is over
                    status = None
                if status is None:
                    raise unreached(self.shown, "ended the connection, or did not answer in time")
                yield _answer_of(file.uid, int(status))

    def _find(self, keys: dict[str, Any]) -> list[Dataset]:
        from pynetdicom.presentation import build_context

        model = _MODEL + "1"
        found = []
        with self._association([build_context(model)]) as association:
            for status, answer in association.send_c_find(_identifier(keys), model):
                code = self._status_of(status, "C-FIND")
                if code in _PENDING:
                    if answer is None:
                        raise odd_answer("to a C-FIND cannot be decoded")
                    found.append(answer)
                    refuse_endless(len(found))
        return found

    def _get(self, identifier: Dataset, classes: Sequence[str], incoming: IncomingInstances) -> None:
        from pynetdicom import evt
        from pynetdicom.presentation import build_context, build_role

        model = _MODEL + "3"
        kinds = [(one, syntax) for syntax in _SYNTAXES for one in classes or _COMMON][: _MOST_CONTEXTS - 1]
        contexts = [build_context(model), *(build_context(*kind) for kind in kinds)]
        roles = [build_role(one, scp_role=True) for one in sorted({one for one, _ in kinds})]
        handlers = [(evt.EVT_C_STORE, incoming.take)]
        with self._association(contexts, roles, handlers) as association:
            if not any(context.abstract_syntax == model for context in association.accepted_contexts):
                raise refused(self.shown, "takes no C-GET", _MOVE)
            self._follow(association, association.send_c_get(identifier, model), "C-GET", incoming)

    def _move(self, identifier: Dataset, destination: Destination, incoming: IncomingInstances) -> None:
        from pynetdicom.presentation import build_context

        model = _MODEL + "2"
        with self._association([build_context(model)]) as association:
            connection: Any = association.dul.socket
            own = connection.socket.getsockname()[0]  # the address by which the archive is reached
            with incoming.receiving(destination, own, self._calling.timeout_s):
                answers = association.send_c_move(identifier, destination.title, model)
                self._follow(association, answers, "C-MOVE", incoming)

    def _follow(self, association: Association, answers: Any, what: str, incoming: IncomingInstances) -> None:
        """Wait until a retrieval is over. Some may have failed: whoever asked counts."""
        for status, _ in answers:
            if incoming.failure is not None:
                association.abort()
                raise incoming.failure
            self._status_of(status, what)
        if incoming.failure is not None:
            raise incoming.failure

    def _status_of(self, status: Dataset, what: str) -> int:
        """The code of an answer that is no failure. Raises ARCHIVE_UNREACHED where there is none, ARCHIVE_REFUSED."""
        if "Status" not in status:
            raise unreached(self.shown, f"ended the connection during {what}, or did not answer in time")
        code = int(status.Status)
        if code not in (*_PENDING, _SUCCESS, _SOME_FAILED):
            raise refused(self.shown, f"refuses {what}, with status {code:04X}", _MOVE if what == "C-GET" else _TITLES)
        return code

    @contextmanager
    def _association(
        self,
        contexts: Sequence[PresentationContext],
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
        *,
        may_take_nothing: bool = False,
    ) -> Iterator[Association]:
        """An association for the block, released at its end, aborted where the block fails.

        may_take_nothing: whether one is given too where nothing of what was proposed is taken, and it is over by then.
        """
        association = self._associate(contexts, roles, handlers)
        if not association.is_established and not (may_take_nothing and _takes_nothing(association)):
            self._explain(association)
        try:
            with fence_threads():
                yield association
        except BaseException:
            association.abort()
            raise
        association.release()

    def _associate(
        self, contexts: Sequence[PresentationContext], roles: Sequence[Any], handlers: Sequence[Any]
    ) -> Association:
        from pynetdicom import evt
        from pynetdicom.ae import ApplicationEntity

        entity = ApplicationEntity(self._calling.title)
        limit = self._calling.timeout_s
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = limit
        host, port = self._address.host, self._address.port
        opened: list[Association] = []
        try:
            return entity.associate(
                self._resolve(host, port),
                port,
                list(contexts),
                self._address.title,
                max_pdu=_PDU,
                ext_neg=list(roles),
                tls_args=(self._tls, host) if self._tls else None,
                evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc)), *handlers],
            )
        except BaseException:  # the user stops us: its thread would wait for the archive, and Python for its thread
            for one in opened:
                one.dul.kill_dul()
            raise

    def _resolve(self, host: str, port: int) -> str:
        """The number of a host: pynetdicom itself takes no name that leads to IPv6."""
        try:
            return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise unreached(self.shown, f"cannot be found: {error.strerror}", "Check the name of the host.") from error

    def _explain(self, association: Association) -> None:
        """Say why there is no association. Raises ARCHIVE_REFUSED, ARCHIVE_UNREACHED."""
        # A rejection may be there before pynetdicom looks whether it is connected: it then takes it for a lost connection.
        answer: Any = association.acceptor.primitive or association.dul.receive_pdu()
        if _is_rejection(association, answer):
            raise refused(self.shown, f"rejects the association: {_words_of(answer)}", _TITLES)
        if _takes_nothing(association):
            raise refused(self.shown, "takes nothing of what was proposed", _TITLES)
        try:  # pynetdicom does not tell why, so the port is asked once
            socket.create_connection((self._address.host, self._address.port), self._calling.timeout_s).close()
        except OSError as error:
            raise unreached(self.shown, f"cannot be reached: {error.strerror or 'no answer in time'}") from error
        hint = "It may want TLS (--tls), or none; with it, check --ca-file, --certificate, and the host's name."
        raise unreached(self.shown, "answers at its port, but no association came about", hint)


def _is_rejection(association: Association, answer: Any) -> bool:
    return bool(association.is_rejected) or getattr(answer, "result", None) in _REJECTED


def _takes_nothing(association: Association) -> bool:
    """Whether the archive has agreed to an association, but to nothing of what was proposed for it."""
    answer = association.acceptor.primitive
    return answer is not None and not _is_rejection(association, answer) and not association.accepted_contexts


def _keys_of(series: ArchiveSeries) -> dict[str, Any]:
    return {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": series.study_uid, "SeriesInstanceUID": series.uid}


def _identifier(keys: dict[str, Any]) -> Dataset:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


def _answer_of(uid: str, status: int) -> StoreAnswer:
    is_stored = status == _SUCCESS or status in _STORED_WITH_WARNING
    words = "stored" if status == _SUCCESS else "stored, with a warning" if is_stored else "not stored"
    return StoreAnswer(uid, is_stored, f"{status:04X}", words)


def _words_of(answer: Any) -> str:
    """What a rejection says, in the words of the standard (PS3.8 table 9-21)."""
    try:
        return f"{answer.reason_str}".lower()
    except Exception:  # numbers that the standard does not have
        return "no reason that the standard has"
