"""Collect one real sentence of every finding, from the tests that make it.

Rules:
- `finding_examples.json` names, for every Code, a test that makes it, what it says there, and every severity it was seen
  with. Whenever that test runs, it must still say so.
- `python -m tests.helpers.finding_examples` runs those tests anew and rewrites the file. With the names of tests it runs
  these instead, and keeps the other examples; `--all` runs the whole suite and finds an example for every Code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.findings import Code, Finding, Severity

HERE = Path(__file__)
ROOT = HERE.parents[2]
PATH = HERE.with_suffix(".json")
COLLECT = "VERIMASK_COLLECT_FINDINGS"  # a folder: every process of the suite writes what it saw into it
Example = dict[str, Any]

seen: list[Finding] = []
_UNFIT = re.compile(r"pytest-|[A-Za-z]:\\|(?<![\w.])/[a-z]+/|\d{12}|0x[0-9a-f]{6}|Traceback")  # paths, UIDs
_ODD = re.compile(r"Expecting|“”|^ |(.)\1{20}")  # texts of an interpreter, names that are empty or made up to be long
_LONGEST = 400
_KEPT = ("Test", "Severity", "Message", "Hint", "Clause", "Measured", "Limit", "Unit")


def watch(patch: pytest.MonkeyPatch) -> None:
    """Keep every finding that is made."""
    checked = Finding.__post_init__

    def made(finding: Finding) -> None:
        checked(finding)
        seen.append(finding)

    patch.setattr(Finding, "__post_init__", made)


def examples() -> dict[str, Example]:
    """Code to example, as kept."""
    return dict(json.loads(PATH.read_text("utf-8"))) if PATH.exists() else {}


def changed(test: str) -> list[str]:
    """The Codes whose example this test is to give, and has not. Numbers may differ: versions of witnesses are some."""
    made = {(f.code.name, _without_numbers(f.message), _without_numbers(f.hint), f.severity.value) for f in seen}
    return [
        code
        for code, e in examples().items()
        if e["Test"] == test
        and (code, _without_numbers(e["Message"]), _without_numbers(e.get("Hint", "")), e["Severity"]) not in made
    ]


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+([.,]\d+)*", "0", text)


def collect(test: str) -> None:
    """Write down that a test has run and what it has made, where that is asked for."""
    folder = os.environ.get(COLLECT)
    if not folder:
        return
    made = {json.dumps(f.as_json() | {"Test": test}, ensure_ascii=False) for f in seen}
    with Path(folder, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in [json.dumps({"Test": test, "Code": ""}), *sorted(made)])


def _is_fit(example: Example) -> bool:
    """Whether a sentence can be shown: short, and without paths or long numbers."""
    text = f"{example['Message']} {example.get('Hint', '')}"
    return len(text) <= _LONGEST and not _UNFIT.search(text)


def _collected(folder: Path) -> Iterator[Example]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            with suppress(ValueError):
                example = json.loads(line)
                if not example["Code"] or example["Message"]:  # a test may make a finding that says nothing
                    yield example


def chosen(candidates: list[Example], code: Code) -> Example | None:
    """The example of a Code: one that refuses before one that warns, from a hard case, with place and hint, the shortest."""
    fit = [e for e in candidates if e["Code"] == code.name and _is_fit(e)]
    severities = [severity.value for severity in reversed(list(Severity))]
    fit.sort(
        key=lambda e: (
            severities.index(e["Severity"]),
            _ODD.search(e["Message"]) is not None,
            "test_hard_cases.py" not in e["Test"],
            "Where" not in e,
            "Hint" not in e,
            "test_cases.py" in e["Test"],  # real samples, which are not everywhere
            "[" in e["Test"],
            len(e["Message"]),
            e["Message"],
            e["Test"],
        )
    )
    return fit[0] if fit else None


def _run(tests: list[str]) -> list[Example]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        subprocess.run(command, cwd=ROOT, env=os.environ | {COLLECT: folder}, check=False)
        return list(_collected(Path(folder)))


def renewed(candidates: list[Example]) -> dict[str, Example]:
    """The examples to keep: of the same tests where they still make them, else the best of what was seen.

    An example whose test was not run is kept as it is.
    """
    kept = examples()
    ran = {e["Test"] for e in candidates}
    result = {}
    for code in Code:
        old = kept.get(code.name, {})
        seen_here = [e for e in candidates if e["Code"] == code.name]
        found = chosen([e for e in seen_here if e["Test"] == old.get("Test")], code) or chosen(seen_here, code)
        if old and old["Test"] not in ran:
            found = old
        if found is not None:
            severities = {e["Severity"] for e in seen_here} | set(old.get("Severities", ()))
            ordered = [s.value for s in reversed(list(Severity)) if s.value in severities]
            result[code.name] = {key: found[key] for key in _KEPT if key in found} | {"Severities": ordered}
    return result


def main() -> None:
    """Run tests, and rewrite the file of examples."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tests", nargs="*", help="only these, as pytest takes them")
    parser.add_argument("--all", action="store_true", help="run the whole suite")
    parser.add_argument("--from", dest="folder", type=Path, help="take what an earlier run has collected here")
    given = parser.parse_args()
    if given.folder:
        candidates = list(_collected(given.folder))
    else:
        candidates = _run(given.tests or ([] if given.all else sorted({e["Test"] for e in examples().values()})))
    found = renewed(candidates)
    PATH.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    missing = [code.name for code in Code if code.name not in found]
    print(f"{len(found)} examples; none for {', '.join(missing) or 'no Code'}")


if __name__ == "__main__":
    main()
