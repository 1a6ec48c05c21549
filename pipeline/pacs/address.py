"""Read the address of an archive as it was typed: a DICOMweb URL, or a title of DIMSE with host and port.

Rules:
- A URL holds no user, password, query or fragment: whatever is typed stands in the history of a shell, and in records.
- What is shown and recorded is made anew from the parts that were understood.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from ..core.findings import Code, PipelineError, refuse

LONGEST_TITLE = 16  # characters of an Application Entity title (PS3.5, VR AE)
_DIMSE = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s@:/\[\]]+):(?P<port>\d{1,5})")
_FORMS = "Give http://HOST:PORT/PATH or https://… for DICOMweb, AE@HOST:PORT for DIMSE."
_UID = re.compile(r"\d+(\.\d+)*")
_LONGEST_UID = 64  # characters (PS3.5 9.1)


class WebAddress(NamedTuple):
    """The root of a DICOMweb service. url: without a slash at its end."""

    url: str

    @property
    def shown(self) -> str:
        return self.url

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def is_secure(self) -> bool:
        return self.url.startswith("https:")


class DimseAddress(NamedTuple):
    """An Application Entity. host: a name or number, without brackets."""

    title: str
    host: str
    port: int

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.title}@{host}:{self.port}"


Address = WebAddress | DimseAddress


def parse_address(text: str) -> Address:
    """Read the address of an archive. Raises BAD_OPTION."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return _parse_web(text)
    found = _DIMSE.fullmatch(text)
    if found is None:
        raise _bad("the address of the archive is neither a URL nor AE@HOST:PORT", _FORMS)
    title = check_title(found["title"], "the archive's title")
    return DimseAddress(title, found["host"].strip("[]"), check_port(found["port"]))


def parse_destination(text: str) -> tuple[str, int]:
    """Read where a C-MOVE is to send: AE:PORT, a title and a port of this machine. Raises BAD_OPTION."""
    title, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise _bad("--move-to is not AE:PORT", "Give the title that the archive knows this machine by, and its port.")
    return check_title(title, "the title of --move-to"), check_port(port)


def check_title(title: str, what: str) -> str:
    """Return an Application Entity title without the spaces around it. Raises BAD_OPTION. what: it is called in messages."""
    title = title.strip(" ")
    if not title or len(title) > LONGEST_TITLE or not (title.isascii() and title.isprintable()) or "\\" in title:
        why = f"{what} is no Application Entity title: 1 to {LONGEST_TITLE} characters of ASCII, no backslash"
        raise _bad(why, "Ask whoever runs the archive for it.")
    return title


def check_port(port: str) -> int:
    """Return the number of a port. Raises BAD_OPTION."""
    if not 0 < int(port) < 1 << 16:
        raise _bad(f"{port} is no port", "Ports go from 1 to 65535.")
    return int(port)


def is_uid(text: str) -> bool:
    """Whether a text is a UID, so that a file may be named by it. A zero that leads a part is taken: there are such."""
    return len(text) <= _LONGEST_UID and text.isascii() and _UID.fullmatch(text) is not None


def _parse_web(text: str) -> WebAddress:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _bad("the URL of the archive cannot be read", _FORMS) from None
    if "@" in parts.netloc:
        raise _bad(
            "the URL of the archive holds a user or password",
            "It would stay in the history of the shell. Give VERIMASK_PACS_USER and VERIMASK_PACS_PASSWORD, or "
            "VERIMASK_PACS_TOKEN, in the environment, or write ~/.netrc.",
        )
    if parts.scheme.lower() not in ("http", "https"):
        raise _bad("the URL of the archive begins with neither http nor https", _FORMS)
    if parts.query or parts.fragment or not parts.hostname or not text.isascii() or not text.isprintable():
        raise _bad("the URL of the archive is not scheme, host, port and path alone", _FORMS)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port is None else f"{host}:{port}"
    return WebAddress(f"{parts.scheme.lower()}://{place}{parts.path.rstrip('/')}")


def _bad(why: str, hint: str) -> PipelineError:
    return refuse(Code.BAD_OPTION, why, hint, where=("address",))
