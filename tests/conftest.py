"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import real_samples


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real DICOM samples; the test is skipped where it is absent, and fails in CI."""
    return real_samples()
