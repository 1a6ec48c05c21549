"""Read DICOM masks and images into arrays, each proven as a file is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..conversion.request import Progress, Request, silent
from ..core.findings import PipelineError
from ..core.policy import Policy
from ..crosscheck.panel import Panel
from .labelled_array import Image, Mask

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyPaths


def read(
    inputs: OneOrManyPaths,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
) -> Mask | Image:
    """Read the one mask or image among the inputs into an array, with its proof."""
    raise NotImplementedError


def read_all(
    inputs: OneOrManyPaths,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
) -> tuple[list[Mask | Image], list[PipelineError]]:
    """Read every mask and image among the inputs."""
    raise NotImplementedError
