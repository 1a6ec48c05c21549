"""Hand an entry point over to Atheris, with what it is to look into instrumented."""

from __future__ import annotations

import sys
import warnings


def main(entry: str) -> None:
    """Look for inputs of one entry point, by the command line of libFuzzer."""
    import atheris

    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["pipeline", "verimask", "pydicom"]):
        from tests.fuzz.oss_fuzz.one_input import test_one_input

    atheris.Setup(sys.argv, lambda data: test_one_input(entry, data))
    atheris.Fuzz()
