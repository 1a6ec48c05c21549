"""Nothing that runs uses a network, and no page makes a browser do so."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.helpers.command_tree import CommandTree, make_tree
from tests.helpers.every_command import run_every_command
from tests.helpers.network_calls import can_trace, no_network, traced_calls

_LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href", "ping"}
_FOREIGN = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CommandTree:
    plain = {
        "BodyPartExamined": "CHEST",
        "StudyID": "1",
        "AccessionNumber": "1",
        "StationName": "S",
        "OtherPatientIDs": "",
    }
    return make_tree(tmp_path_factory.mktemp("in"), lambda what: plain.get(what, what))


class Loaded(HTMLParser):
    """Whatever a browser would load for a page that is not in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        for name, value in attrs:
            loads = name in _LOADING or (name == "href" and tag != "a")
            if value and ((loads and _FOREIGN.match(value)) or (name == "style" and "url(" in value)):
                self.foreign.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.foreign += re.findall(r"@import[^;]*|url\((?!data:)[^)]*\)", data)


def test_no_command_uses_a_network(tree: CommandTree, tmp_path: Path) -> None:
    """`selftest` is among them, which has every witness read voxels."""
    with no_network(tmp_path / "watch") as log:
        ran = run_every_command(tree, tmp_path / "out")
        assert log.read_text("utf-8") == ""
    assert [(one.name, one.stderr) for one in ran if one.exit == 1] == []
    pages = {n: content.decode("utf-8") for one in ran for n, content in one.written.items() if n.endswith(".html")}
    assert len(pages) > 5
    assert {name: Loaded(text).foreign for name, text in pages.items() if Loaded(text).foreign} == {}


def test_the_watch_sees_what_is_tried(tmp_path: Path) -> None:
    asks = "import socket; socket.getaddrinfo('localhost', 80)"
    with no_network(tmp_path / "watch") as log:
        with pytest.raises(OSError, match="no network here"):
            socket.socket()
        assert subprocess.run([sys.executable, "-c", asks], capture_output=True, check=False).returncode == 1
        tried = log.read_text("utf-8").splitlines()
    assert [line.split()[0] for line in tried] == ["socket.__new__", "socket.getaddrinfo"]
    socket.socket().close()
    page = (
        '<style>@import "a.css"; p { background: url(//x/y) }</style><img src="https://x/y"><a href="https://x">x</a>'
    )
    assert len(Loaded(page).foreign) == 3


def test_no_system_call_reaches_for_a_network(tree: CommandTree, tmp_path: Path) -> None:
    """Of witnesses too, which run isolated, or are no Python at all."""
    if not can_trace():
        pytest.skip("strace is not here, or may not look")
    words = ["convert", tree.mask, "-o", tmp_path / "a.nii.gz", "--crosscheck", "voxels", "--report"]
    assert traced_calls(words, tmp_path) == []
