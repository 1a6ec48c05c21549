"""Run `fetch` and `send` in tests, and hold what they print against what may never be printed."""

from __future__ import annotations

import pytest

from pipeline.cli.main import main
from tests.helpers.orthanc import PASSWORD, TOKEN

QUICK = ["--timeout", "20"]


def run(*words: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """The exit code of a run that is refused, and the refusal; nobody is named in it, and nothing secret."""
    capsys.readouterr()
    code = run(*words)
    printed = capsys.readouterr()
    for secret in (TOKEN, PASSWORD, "Zqpatient", "Traceback"):
        assert secret.lower() not in (printed.out + printed.err).lower()
    return code, " ".join(printed.err.split())  # however wide the terminal is
