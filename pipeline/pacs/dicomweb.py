"""Ask an archive by DICOMweb: QIDO-RS, WADO-RS and STOW-RS.

Rules:
- Searching is dicomweb-client's; files go through its session as they are, in the transfer syntax they are stored in, block by
  block, in both directions.
- Every request has a time limit for each silence. A GET is asked again, with growing pauses, where a server is busy or its
  connection drops; a file is posted once. Posting it again later is safe: it has the same SOP Instance UID.
- Whatever a server answers ends as an answer or as a refusal: it may be anything, and libraries stumble over it in more ways
  than can be listed.
- What is refused of one file keeps no other from being posted, unless nothing was stored and the answer is about who asks or
  where.
- What a server answers in words is neither shown nor recorded: it may repeat what it was asked, or name a patient.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import urandom
from ssl import SSLError
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.findings import PipelineError
from ..core.regular_file import open_regular
from .address import WebAddress
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
from .credentials import read_credentials
from .multipart import iter_single_part
from .tls import Tls

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from requests import Response, Session

T = TypeVar("T", ArchiveSeries, ArchiveInstance)
_BLOCK = 1 << 20  # bytes that are read and written at once
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BUSY = (429, 502, 503, 504)
_ATTEMPTS, _PAUSE_S = 3, 0.5  # of a GET; pauses double from one to the next
_CREDENTIALS = "Set VERIMASK_PACS_TOKEN, or VERIMASK_PACS_USER and VERIMASK_PACS_PASSWORD, or write ~/.netrc."
_PATH = "Check the path of the URL: Orthanc has /dicom-web, others /dicomweb, /dcm4chee-arc/aets/AE/rs."
_MOST_PAGES = 2000  # of a search: servers give 50 to 5000 at once
_WHOLE, _NOTHING, _PART = (200, 203), 204, 206  # a search may be answered page by page with the last
_OF_WHO_ASKS = (401, 403, 404, 405)  # or where
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}  # of OpenSSL
_PROCESSED_WITH_FAILURES = 409  # of STOW-RS (PS3.18 table 10.5.3-1), where none was stored; the answer says why


class WebArchive:
    """An archive that speaks DICOMweb. Raises as `Archive` says."""

    def __init__(self, address: WebAddress, tls: Tls, timeout_s: float) -> None:
        from dicomweb_client import DICOMwebClient

        # Or Python prints what a server warns of.
        logging.getLogger("dicomweb_client").addHandler(logging.NullHandler())
        self.shown = address.shown
        self._session = _open_session(tls, timeout_s)
        self._client = DICOMwebClient(address.url, session=self._session)
        self._client.set_http_retry_params(retry=False)  # its own would post again too

    def __enter__(self) -> WebArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def find_series(self, study_uid: str, series_uid: str = "") -> list[ArchiveSeries]:
        """As `Archive`."""
        asked: dict[str, Any] = {"fields": ["Modality", "NumberOfSeriesRelatedInstances"]}
        if study_uid:
            asked["study_instance_uid"] = study_uid
        if series_uid:
            asked["search_filters"] = {"SeriesInstanceUID": series_uid}
        found = self._search("series", asked, lambda answer: series_in(answer, study_uid))
        # Some do not filter by all that they are asked.
        return [s for s in found if study_uid in ("", s.study_uid) and series_uid in ("", s.uid)]

    def list_instances(self, series: ArchiveSeries) -> list[ArchiveInstance]:
        """As `Archive`."""
        asked = {"study_instance_uid": series.study_uid, "series_instance_uid": series.uid, "fields": ["SOPClassUID"]}
        return self._search("instances", asked, instance_in)

    def retrieve(self, series: ArchiveSeries, instances: Sequence[ArchiveInstance], keep: KeepInstance) -> None:
        """As `Archive`: one request an instance, so that what came stays when a connection drops.

        Args:
            series: that they are of.
            instances: of it, each once.
            keep: takes each as it comes.

        Raises: as `Archive`, and what `keep` raises.
        """
        for instance in instances:
            url = f"{self._client.base_url}/studies/{series.study_uid}/series/{series.uid}/instances/{instance.uid}"
            with self._asking():
                answer = self._session.get(url, headers={"Accept": _AS_STORED}, stream=True)
            with closing(answer):
                if answer.status_code not in _WHOLE:
                    raise self._refusal(answer.status_code)
                keep(instance.uid, self._blocks_of(answer))

    def store(self, files: Sequence[OutgoingFile]) -> Iterator[StoreAnswer]:
        """As `Archive`: one request an instance."""
        is_any_stored = False
        for file in files:
            answer = self._store_one(file, may_end=not is_any_stored)
            is_any_stored = is_any_stored or answer.is_stored
            yield answer

    def _blocks_of(self, answer: Response) -> Iterator[bytes]:
        """The bytes of the instance in an answer. Its errors are taken here: to who writes, any OSError is that of a disk."""
        tells_end = answer.raw.chunked or answer.raw.length_remaining is not None
        try:
            yield from iter_single_part(
                answer.headers.get("Content-Type", ""), self._body_of(answer), tells_end=tells_end
            )
        except ValueError as error:
            raise odd_answer(f"to a request for an instance {error}") from error
        except EOFError as error:
            raise unreached(self.shown, f"ended the connection: an answer {error}") from error

    def _body_of(self, answer: Response) -> Iterator[bytes]:
        with self._asking():
            yield from answer.iter_content(_BLOCK)

    def _search(self, level: str, asked: dict[str, Any], take: Callable[[Dataset], T]) -> list[T]:
        """All answers at a level, page by page: until one brings no new UID, since some servers know no pages."""
        search = getattr(self._client, f"search_for_{level}")
        found: dict[str, T] = {}
        for _ in range(_MOST_PAGES):
            with self._asking():
                answers = search(offset=len(found), **asked) if found else search(**asked)
            if not isinstance(answers, list):
                raise odd_answer("to a search is JSON, but no list")
            before = len(found)
            for one in map(take, map(_as_dataset, answers)):
                found[one.uid] = one
            refuse_endless(len(found))
            if len(found) == before:
                return list(found.values())
        raise odd_answer(f"to a search has no end: more than {_MOST_PAGES:,} pages")

    def _store_one(self, file: OutgoingFile, *, may_end: bool) -> StoreAnswer:
        """Post one file. may_end: whether an answer about who asks, or where, is raised."""
        body = _OnePart(file)
        kind = f'multipart/related; type="application/dicom"; boundary={body.boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        url = f"{self._client.base_url}/studies/{file.study_uid}"
        with self._asking():
            answer = self._session.post(url, data=body, headers=headers, allow_redirects=False, stream=True)
        with closing(answer):
            status = answer.status_code
            if 200 <= status < 300 or status == _PROCESSED_WITH_FAILURES:
                return _read_store_answer(answer, file.uid)
        if may_end and (status in _OF_WHO_ASKS or 300 <= status < 400):
            raise self._refusal(status)
        return StoreAnswer(file.uid, False, f"HTTP {status}", "not stored")

    def _refusal(self, status: int) -> PipelineError:
        return refused(self.shown, f"refuses, with HTTP status {status}", _hint_of(status))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Take the errors of libraries for what they are; their words may hold what was asked, and are left out."""
        import requests
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (PipelineError, MemoryError):
            raise
        except requests.exceptions.HTTPError as error:  # dicomweb-client raises it for a status, and so do we
            raise self._refusal(0 if error.response is None else error.response.status_code) from error
        except requests.exceptions.SSLError as error:
            raise unreached(self.shown, *_words_of_tls(error)) from error
        except requests.exceptions.Timeout as error:
            raise unreached(self.shown, "does not answer in time") from error
        except json.JSONDecodeError as error:
            raise odd_answer("to a search is no JSON: there may be no DICOMweb at this URL, but a page") from error
        except (requests.exceptions.RequestException, HTTPError) as error:
            raise unreached(self.shown, f"cannot be reached, or ended the connection{_reason_of(error)}") from error
        except Exception as error:
            raise odd_answer("cannot be read, or leads nowhere") from error


def _open_session(tls: Tls, timeout_s: float) -> Session:
    from dicomweb_client.session_utils import add_certs_to_session, create_session
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class LimitedAdapter(HTTPAdapter):
        """Gives every request its time limit, and the authorities of the user instead of those of an environment."""

        def send(self, request: Any, *args: Any, **more: Any) -> Any:
            more["timeout"] = timeout_s
            if tls.authorities:
                more["verify"] = tls.authorities
            return super().send(request, *args, **more)

    session = create_session()
    session.auth = read_credentials()
    session.hooks["response"].append(_refuse_odd_status)
    add_certs_to_session(session, tls.authorities or None, tls.certificate or None)
    # What cannot be connected to at all is said at once: an address is wrong more often than a server is away.
    retries = Retry(
        total=_ATTEMPTS - 1,
        connect=0,
        backoff_factor=_PAUSE_S,
        status_forcelist=_BUSY,
        allowed_methods=("GET",),
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, LimitedAdapter(max_retries=retries))
    return session


def _refuse_odd_status(answer: Response, *_: Any, stream: bool = False, **__: Any) -> None:
    """Refuse an answer to a search that says neither that it has found something nor that it has not. Raises HTTPError."""
    from requests.exceptions import HTTPError

    if stream or answer.is_redirect or answer.status_code in (*_WHOLE, _NOTHING):
        return
    if answer.status_code != _PART or b"{" not in answer.content:
        raise HTTPError(response=answer)


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _reason_of(error: BaseException) -> str:
    """What the system says of a connection, somewhere among the causes of an error: ": connection refused"."""
    for cause in _causes_of(error):
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return f": {cause.strerror.lower()}"
    return ""


def _words_of_tls(error: BaseException) -> tuple[str, str]:
    """What keeps a connection from being secure, and what to do."""
    reasons = {getattr(cause, "reason", None) for cause in _causes_of(error) if isinstance(cause, SSLError)}
    if reasons & _NO_TLS:
        return "speaks no TLS at this port", "Check the port, or give the URL with http:// if what is sent may be read."
    hint = "Give the certificates of its authority with --ca-file, its own name as the host, or --certificate."
    return "cannot be spoken to securely: its certificate is not trusted, or ours is not", hint


def _as_dataset(answer: Any) -> Dataset:
    from pydicom.dataset import Dataset

    try:
        return Dataset.from_json(answer)
    except Exception as error:  # JSON that is no DICOM makes pydicom stumble in more ways than can be listed
        raise odd_answer("to a search is JSON, but no DICOM") from error


class _OnePart:
    """A multipart message of one file, read as it is sent. It has a length, so that `requests` announces that."""

    def __init__(self, file: OutgoingFile) -> None:
        self.boundary = urandom(16).hex()
        self._path = file.path
        self._begin = f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"\r\n--{self.boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._begin) + self._path.stat().st_size + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        yield self._begin
        with open_regular(self._path) as content:
            while block := content.read(_BLOCK):
                yield block
        yield self._end


def _hint_of(status: int) -> str:
    if status in (401, 403):
        return _CREDENTIALS
    return _PATH if status in (404, 405, 301, 302, 307, 308) else "Its own log says why."


def _read_store_answer(answer: Response, uid: str) -> StoreAnswer:
    """What a STOW-RS answer says of the one instance that was sent (PS3.18 annex I). One that cannot be read says nothing."""
    from pydicom.dataset import Dataset

    plain = f"HTTP {answer.status_code}"
    try:
        listed = Dataset.from_json(answer.json())
        failed = {_named_in(item): item for item in listed.get("FailedSOPSequence") or []}
        stored = {_named_in(item): item for item in listed.get("ReferencedSOPSequence") or []}
    except Exception:  # as in `_as_dataset`
        failed, stored = {}, {}
    if uid in failed or ("" in failed and uid not in stored):
        item = failed.get(uid, failed.get(""))
        return StoreAnswer(uid, False, _code_in(item, "FailureReason") or plain, "not stored")
    if uid in stored:
        warned = _code_in(stored[uid], "WarningReason")
        return StoreAnswer(uid, True, warned or "0000", "stored, with a warning" if warned else "stored")
    if answer.status_code == _PROCESSED_WITH_FAILURES:
        return StoreAnswer(uid, False, plain, "not stored")
    return StoreAnswer(uid, False, plain, "the answer does not say whether it was stored: it may have been")


def _named_in(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID") or "")


def _code_in(item: Any, keyword: str) -> str:
    """A reason as four hex digits; "" where there is none that could be one."""
    try:
        code = int(item.get(keyword) or 0)
    except Exception:  # as in `_as_dataset`
        return ""
    return f"{code:04X}" if 0 < code <= 0xFFFF else ""
