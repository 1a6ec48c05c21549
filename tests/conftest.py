"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.cases import real_samples

# The same examples on every run, so that what passes here passes everywhere. VERIMASK_EXAMPLES=5000 looks for new ones.
_WANTED = os.environ.get("VERIMASK_EXAMPLES")
settings.register_profile(
    "tests",
    max_examples=int(_WANTED or 50),
    derandomize=_WANTED is None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real DICOM samples; the test is skipped where it is absent, and fails in CI."""
    return real_samples()
