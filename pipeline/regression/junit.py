"""Write what came of cases as JUnit XML, which the pages of CI servers show.

Rules:
- A case that differs or is new is a failure, one that could not be run an error, one that was left out is skipped.
- It replaces a JUnit report and nothing else, and lies at no place that is the cases' own.
- A character that XML does not have is written as its escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..core.atomic_file import in_place
from ..core.findings import Code, refuse
from ..core.own_place import check_own_place, head_of
from ..core.plain_text import escape_controls
from .case_list import CaseList
from .judge import CaseJudged

_TAGS = {"DIFFERS": "failure", "NEW": "failure", "FAILED": "error", "LEFT_OUT": "skipped"}
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


_REPORT = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<testsuites?[\s/>]", re.DOTALL)
_HEAD = 4096  # bytes in which a report shows what it is


def check_junit_place(path: Path, cases: CaseList) -> None:
    """Refuse a place where no report can be written: it may be free, or hold a JUnit report of before.

    Args:
        path: of the report.
        cases: that are to be run; neither their list nor anything beside their golden records is replaced.

    Returns: nothing.

    Raises: PipelineError OUTPUT_NAME, OUTPUT_EXISTS.
    """
    check_own_place(path, "JUnit report", "JUnit report", _is_report)
    golden = cases.golden_path("any").parent
    if golden.is_dir() and any(folder.samefile(golden) for folder in path.absolute().parents if folder.is_dir()):
        words = f"{path.name} would lie in {golden.name}/, which holds golden records and nothing else"
        raise refuse(Code.OUTPUT_EXISTS, words, "Give --junit another place.", where=(path.name,))


def write_junit(path: Path, cases: CaseList, judged: Sequence[CaseJudged]) -> None:
    """Write the XML file of a run; a report of before is replaced.

    Args:
        path: of the file.
        cases: the list that was run.
        judged: its cases, as they were.

    Raises: PipelineError as `check_junit_place`, and CANNOT_WRITE.
    """
    check_junit_place(path, cases)
    with in_place(path, overwrite=_is_report(path)) as temporary:
        text = ElementTree.tostring(_suites(cases.path.name, judged), "utf-8", xml_declaration=True)
        temporary.write_bytes(text + b"\n")


def _is_report(path: Path) -> bool:
    return _REPORT.match(head_of(path, _HEAD)) is not None


def _suites(name: str, judged: Sequence[CaseJudged]) -> ElementTree.Element:
    tags = [_TAGS.get(one.status, "") for one in judged]
    counts = {
        "tests": str(len(judged)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": f"{sum(one.run.seconds for one in judged):.3f}",
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _plain(name), **counts})
    for one, tag in zip(judged, tags, strict=True):
        about = {"classname": _plain(name), "name": one.case.id, "time": f"{one.run.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", about)
        if tag:
            lines = [*map(_plain, one.lines)]
            found = ElementTree.SubElement(case, tag, {"message": lines[0] if lines else one.status})
            found.text = "\n".join(lines)
    ElementTree.indent(root)
    return root


def _plain(text: str) -> str:
    return _NO_XML.sub("?", escape_controls(text))
