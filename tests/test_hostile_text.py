"""Text from outside is shown and never obeyed: on terminals, in files, in their names, and in what is exported."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from pydicom import Dataset, dcmread

from pipeline.cohort.privacy import Cleaner
from pipeline.core import plain_text, table_cells, toml_file
from pipeline.core.codes import Code
from pipeline.core.findings import Finding
from pipeline.core.shell_words import join_words
from pipeline.report import viewer
from pipeline.report.cohort_table import read_rows
from tests.helpers.command_tree import CommandTree, make_tree
from tests.helpers.every_command import LINES, SLOW, Ran, run_every_command
from tests.helpers.hostile_text import COLOUR, MARKUP, OUR_COLOURS, SIGNS, forbidden, hostile, is_forbidden

COMMANDS = tuple(command for command in LINES if command not in SLOW)  # those see nothing of the tree
MODES: dict[str, dict[str, Any]] = {
    "terminal": {"commands": COMMANDS, "terminal": True, "extra": ("-v",)},
    "json": {"commands": tuple(c for c in COMMANDS if c != "cohort"), "extra": ("--json",)},
}
PRIVATE = (".sqlite",)  # of a cohort: a database, which nobody reads as text


class Run(NamedTuple):
    """Every command, run in one mode. out: the folder that it all was written to."""

    mode: str
    out: Path
    ran: list[Ran]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CommandTree:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says what is wrong with such texts
        return make_tree(tmp_path_factory.mktemp("hostile"), hostile)


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, tree: CommandTree, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("out")
    return Run(request.param, out, run_every_command(tree, out, **MODES[request.param]))


OURS = (  # of an exported DICOM file; who the patient is, and of which study, is that of the source to the letter
    "SeriesDescription", "DerivationDescription", "ContentLabel", "ContentDescription", "SegmentLabel", "CodeMeaning",
    "SegmentAlgorithmName", "AlgorithmName", "ImageComments", "SegmentDescription",
)  # fmt: skip


def texts_of(dataset: Dataset) -> Iterator[str]:
    yield from (str(element.value) for element in dataset.iterall() if element.keyword in OURS)


def test_no_command_fails_for_a_text(run: Run) -> None:
    """A bug of ours would be 1; the printed lines of every command were seen to be there."""
    assert [(one.name, one.stderr) for one in run.ran if one.exit == 1] == []
    assert all(one.stdout or one.stderr or one.written for one in run.ran)
    written = {name for one in run.ran for name in one.written}
    if run.mode == "json":
        return
    kinds = (".html", ".json", ".tsv", ".ctbl", "_labels.txt", ".md", ".toml", ".xml", ".dcm", ".txt")
    assert [kind for kind in kinds if not any(name.endswith(kind) for name in written)] == []


def test_nothing_printed_is_obeyed(run: Run) -> None:
    for one in run.ran:
        for printed in (one.stdout.decode("utf-8"), one.stderr.decode("utf-8")):
            ours = OUR_COLOURS.sub("", printed) if run.mode == "terminal" else printed
            assert list(forbidden(ours)) == [], one.name
            assert "\nINJECTED" not in printed, one.name
            assert f"{COLOUR}EVIL" not in printed


def painted(ran: list[Ran]) -> list[str]:
    return [one.name for one in ran if OUR_COLOURS.search(one.stdout.decode() + one.stderr.decode())]


def test_colours_are_for_terminals_alone(run: Run, tree: CommandTree, tmp_path: Path) -> None:
    """Into a pipe they print the same words, so that a few commands, with and without refusals, are enough."""
    assert bool(painted(run.ran)) == (run.mode == "terminal")
    if run.mode == "terminal":
        piped = run_every_command(tree, tmp_path, commands=("series", "explain"))
        assert painted(piped) == []
        assert [list(forbidden(one.stdout.decode() + one.stderr.decode())) for one in piped] == [[]] * len(piped)
        assert {one.exit for one in piped} >= {0, 5}


def test_nothing_written_is_obeyed(run: Run) -> None:
    for one in run.ran:
        for name, content in one.written.items():
            assert list(forbidden(name)) == [], one.name
            assert not any(part.startswith("-") for part in Path(name).parts), name
            if name.endswith(".dcm") and b"DICM" in content[:140]:
                for text in texts_of(dcmread(io.BytesIO(content))):
                    assert list(forbidden(text)) == [], (one.name, name)
            elif not name.endswith((".gz", ".nii", *PRIVATE)):
                text = content.decode("utf-8")
                assert list(forbidden(text, "\n\t" if name.endswith((".tsv", ".html", ".py")) else "\n")) == [], name
                assert "\nINJECTED" not in text or name.endswith(".html"), name


def test_a_record_keeps_the_value(run: Run) -> None:
    record = json.loads((run.out / "mask.json").read_text("utf-8"))
    assert record["SeriesDescription"] == f"=1+SeriesDescription{SIGNS}{MARKUP}"
    assert record["Labels"][0]["Name"] == record["SeriesDescription"]


class Page(HTMLParser):
    """What a browser would make elements of. elements: with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_pages_hold_their_own_elements_alone(run: Run) -> None:
    pages = {
        name: content.decode() for one in run.ran for name, content in one.written.items() if name.endswith(".html")
    }
    assert len(pages) > 5
    for name, text in pages.items():
        page = Page(text)
        assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes), name
        assert not any(attributes.get("src") == "x" for _, attributes in page.elements), name
        policies = [
            a["content"]
            for tag, a in page.elements
            if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        ]
        (policy,) = policies
        assert policy is not None
        assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy


def test_xml_and_tables_can_be_read(run: Run) -> None:
    seen = set()
    for one in run.ran:
        for name, content in one.written.items():
            if name.endswith(".xml"):
                ElementTree.fromstring(content)
            elif name.endswith(".tsv"):
                rows = content.decode().removesuffix("\n").split("\n")
                assert len({row.count("\t") for row in rows}) == 1, name
                cells = [cell for row in rows for cell in row.split("\t")]
                assert not any(re.match(r"[=@+\"]", cell) for cell in cells), name
            seen.add(Path(name).suffix)
    assert {".xml", ".tsv"} <= seen


@pytest.mark.parametrize("run", ["terminal"], indirect=True)
def test_a_table_of_a_cohort_is_read_back(run: Run) -> None:
    """Once more with the table that the run wrote: nothing is made again, and nothing is refused."""
    again = next(one for one in run.ran if "--table" in one.name)
    assert again.exit == 0, again.stderr
    masks = [row["mask"] for row in read_rows(run.out / "pairs" / "cohort.tsv") if row["mask"]]
    assert any(mask.startswith("=1+") for mask in masks)


@pytest.mark.parametrize("run", ["terminal"], indirect=True)
@pytest.mark.parametrize("page", ["page.html", "all.html", "pairs/cohort.html"])
def test_a_browser_shows_it_as_text(run: Run, page: str, show: Any) -> None:
    """`show` fails for whatever the policy of the page refused, for errors of its scripts, and for requests."""
    if page == "page.html" and not os.environ.get("CI") and not viewer.SCRIPT.exists():
        pytest.skip("NiiVue is not installed: make viewer")  # the page was asked for with it
    opened = show((run.out / page).read_text("utf-8"), script=True).page
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    words = opened.evaluate("document.body.innerText") + opened.title()
    assert r"\x1b[1;" in words  # what follows is the patient's name too, and gone from the page of a cohort
    assert list(forbidden(words, "\n\t")) == []
    assert opened.evaluate("document.querySelectorAll('img[src=x]').length") == 0


CELLS = [
    ("liver", "liver"), ("", ""), ("-1.5e-3", "-1.5e-3"), ("+7", "+7"), ("-", "-"), ("'quoted", "'quoted"),
    ("=1+1", "'=1+1"), ("@x", "'@x"), ("-left", "'-left"), ("+-1", "'+-1"), ("'=1", "''=1"), ("-1 2", "'-1 2"),
    ("＝1", "'＝1"), ("'-5", "'-5"),
]  # fmt: skip


@pytest.mark.parametrize("run", ["terminal"], indirect=True)
def test_a_page_saves_cells_by_the_same_rule(run: Run, show: Any) -> None:
    opened = show((run.out / "all.html").read_text("utf-8")).page
    assert opened.evaluate("(texts) => texts.map(cell)", [text for text, _ in CELLS]) == [cell for _, cell in CELLS]


def test_a_true_terminal_gets_no_command(tree: CommandTree, tmp_path: Path) -> None:
    """All that reaches the terminal, whoever writes it: libraries in C and processes that are started too."""
    words = ["convert", tree.mask, "-o", f"{tmp_path / 'out'}/", "--crosscheck", "voxels", "-v"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        cwd=Path(__file__).parents[1], stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    printed = b""
    while chunk := _read(ours):
        printed += chunk
    os.close(ours)
    assert process.wait() in (0, 8, 11, 13)
    text = OUR_COLOURS.sub("", printed.decode("utf-8")).replace("\r\n", "\n")
    assert "EVIL" in text
    assert list(forbidden(text)) == []


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("words", [("convert", "-o"), ("convert", "x", "-o", "a.nii", "--as"), ("--frobnicate",), ()])
def test_words_of_the_command_line_come_back_as_text(words: tuple[str, ...], tmp_path: Path) -> None:
    given = [sys.executable, "-m", "pipeline", *words, f"a\x1b]0;t\x07b\u202ec\n{COLOUR}d"]
    done = subprocess.run(given, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert list(forbidden(done.stdout + done.stderr)) == []


def test_every_sign_of_unicode_is_shown_or_escaped() -> None:
    assert [
        hex(n) for n in range(0x110000) if is_forbidden(chr(n)) and plain_text.escape_controls(chr(n)) == chr(n)
    ] == []
    kept = "Leber é ü 肝臓 печень كبد ❤\ufe0f 👍🏽 x\u3000y ½ \ue000"
    assert plain_text.escape_controls(kept) == kept
    assert plain_text.escape_controls("a\nb\tc\x85\u2028\U000e0041\udce9") == r"a\x0ab\x09c\x85\u2028\U000e0041\xe9"
    assert plain_text.escape_text("a\nb\tc\r\x1b") == "a\nb\tc" + r"\x0d\x1b"


def test_escaped_json_and_toml_hold_the_same() -> None:
    text = SIGNS + MARKUP + "\U0001d173"
    for write, read in (
        (lambda t: plain_text.escape_json(json.dumps(t, ensure_ascii=False)), json.loads),
        (lambda t: "a = " + toml_file.toml_text(t), lambda t: toml_file.parse_toml(t)["a"]),
    ):
        written = write(text)
        assert list(forbidden(written, "")) == []
        assert read(written) == text


def test_the_fence_knows_our_own_codes() -> None:
    stream = io.StringIO()
    fence = plain_text.FencedStream(stream)
    print("a\x1b[1;31mb\r\x9b", plain_text.paint_bold("REFUSED", "31"), file=fence)  # type: ignore[call-overload]
    fence.writelines(["\tc\n", "\x00\n"])
    assert stream.getvalue() == "a\\x1b[1;31mb\\x0d\\x9b \x1b[1;31mREFUSED\x1b[0m\n\tc\n\\x00\n"
    assert fence.getvalue() == stream.getvalue()  # all else is the stream's own


@pytest.mark.parametrize(
    ("text", "cell"),
    [*CELLS, ('"a', "'\"a"), ("a\tb\nc", r"a\x09b\x0ac"), ("  a  b ", "a b"), ("\t=1", r"\x09=1")],
)
def test_a_cell_is_text_or_a_number(text: str, cell: str) -> None:
    assert table_cells.write_cell(text) == cell
    assert table_cells.read_cell(cell) == " ".join(plain_text.escape_controls(text).split())


def test_a_finding_is_plain_text() -> None:
    found = Finding(Code.BAD_OPTION, f"a {SIGNS}", f"One of:\n  1  a{SIGNS}\n  2  b", where=(SIGNS,))
    assert list(forbidden(found.message, "")) == []
    assert found.hint.split("\n")[2] == "  2  b"
    assert "\nINJECTED" not in found.hint
    assert found.where == (SIGNS,)


def test_a_patient_with_such_a_name_is_cleaned_from_escaped_texts() -> None:
    cleaner = Cleaner({"Mu\x1bster^An\u200bna": "sub-1"})
    assert "ster" not in cleaner.clean(plain_text.escape_controls("of Mu\x1bster^An\u200bna, left"))


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_a_command_to_type_holds_bytes_as_escapes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a'b\\c\x1b\xe9\n")
    path.mkdir()
    line = join_words(["ls", "-d", str(path)])
    assert list(forbidden(line, "")) == []
    assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == os.fsencode(path) + b"\n"
