"""Write what came of cases as JUnit XML, which the pages of CI servers show.

Rules:
- A case that differs or is new is a failure, one that could not be run an error, one that was left out is skipped.
- A character that XML does not have is written as its escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..core.atomic_file import in_place
from ..core.plain_text import escape_controls
from .judge import CaseJudged

_TAGS = {"DIFFERS": "failure", "NEW": "failure", "FAILED": "error", "LEFT_OUT": "skipped"}
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


def write_junit(path: Path, name: str, judged: Sequence[CaseJudged]) -> None:
    """Write the XML file of a run; one that is there is replaced.

    Args:
        path: of the file.
        name: of the run.
        judged: its cases.

    Raises: PipelineError CANNOT_WRITE.
    """
    with in_place(path, overwrite=True) as temporary:
        temporary.write_bytes(ElementTree.tostring(_suites(name, judged), "utf-8", xml_declaration=True) + b"\n")


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
