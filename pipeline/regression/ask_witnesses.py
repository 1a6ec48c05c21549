"""Ask every witness about small inputs made for it, so that it is known which of them really answer here.

Rules:
- Each is asked alone, by the way of a conversion: its process is started, reads the files, and its answer is judged.
- What it is asked about is a recipe that it reads without a known fault: whatever is no agreement is a fault of this
  installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from ..conversion.convert import Request, convert
from ..core.findings import PipelineError
from ..core.policy import Policy
from ..core.temporary_folder import temporary_folder
from ..crosscheck.mask_panel import READERS
from ..crosscheck.panel import WITNESSES, Panel
from .recipes import make_inputs

_LIMIT_S = 60.0  # far more than a small series takes, on a machine that has much else to do
_PLANES = "mask"  # the recipe that witnesses of planes are asked about
# Recipes, called as the forms of masks, and what makes one mask of each; a reader is asked about the first that it reads.
_RECIPES: dict[str, dict[str, Any]] = {_PLANES: {}, "seg": {}, "rtstruct": {"ROIName": ["body"]}, "overlay": {}}
_IMAGES = "images"  # the folder of those that a recipe draws on


class Answer(NamedTuple):
    """What came of asking one witness. reads: the recipe it was shown. words: what is wrong, "" where it agrees."""

    witness: str
    reads: str
    state: Literal["answers", "absent", "broken"]
    version: str = ""
    seconds: float = 0.0
    words: str = ""


def ask_witnesses() -> Iterator[Answer]:
    """Ask one after the other, and yield what came of it as soon as it is known."""
    with temporary_folder() as folder:
        for witness, recipe in _each_witness():
            inputs = folder / recipe
            if not inputs.exists():
                make_inputs({"kind": recipe, **_RECIPES[recipe]}, inputs)
            yield _ask(witness, recipe, inputs, folder / f"{witness}.nii")


def _each_witness() -> Iterator[tuple[str, str]]:
    yield from ((name, _PLANES) for name in WITNESSES)
    yield from ((reader.name, next(form for form in _RECIPES if form in reader.forms)) for reader in READERS)


def _ask(witness: str, recipe: str, inputs: Path, target: Path) -> Answer:
    policy = Policy(crosscheck="voxels", witness_limit_s=_LIMIT_S)
    images = inputs / _IMAGES
    request = Request(source=(images,)) if images.exists() else None
    given = [path for path in sorted(inputs.iterdir()) if path != images]
    begin = perf_counter()
    try:
        with Panel(policy, witness) as panel:
            agreements = convert(given, target, request=request, policy=policy, panel=panel).agreements
    except PipelineError as error:
        return Answer(witness, recipe, "broken", words=error.finding.message)
    seconds = perf_counter() - begin
    found = next((agreement for agreement in agreements if agreement.witness == witness), None)
    if found is None:
        return Answer(witness, recipe, "broken", words="it was not asked")
    if found.status == "ABSENT":
        return Answer(witness, recipe, "absent", words=found.words)
    if not found.confirms or found.saw != "voxels":
        return Answer(witness, recipe, "broken", found.version, seconds, found.words)
    return Answer(witness, recipe, "answers", found.version, seconds)
