"""Read DICOM masks and images into arrays, each proven as a file is.

Rules:
- Nothing is read in another way than a file is made: what was written to a temporary file, read back and cross-checked is
  what is given, and its bytes have the SHA-256 of the record.
- The temporary file is not compressed, and is gone when the array is there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from ..conversion.convert import convert_each, convert_one
from ..conversion.product import Product
from ..conversion.record import Outcome
from ..conversion.request import Progress, Request, silent
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..core.regular_file import read_bytes
from ..core.temporary_folder import temporary_folder
from ..crosscheck.panel import Panel
from .labelled_array import Image, Mask, proof_of
from .origin import ArrayOrigin

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyPaths

_SEVERAL = (Code.SEVERAL_MASKS, Code.SEVERAL_SERIES, Code.SEVERAL_VOLUMES)


def read(
    inputs: OneOrManyPaths,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    panel: Panel | None = None,
) -> Mask | Image:
    """Read the one mask or image among the inputs into an array, with the proof that a file would have.

    Args:
        inputs: folders or files, one or several.
        request: which, where there are several, and on which grid.
        policy: tolerances and choices; `as_="image"` reads an image.
        progress: called with the stage, how much is done, and of how much.
        panel: the witnesses, where the caller has started them, who then ends them.

    Returns:
        A `Mask`, or an `Image` where there are no labels. Its array is read-only; `numpy.array(mask)` is a copy to change.

    Raises:
        PipelineError: for every refusal, as `convert`; SEVERAL_MASKS where there are several: `read_all` reads them.
    """
    kept: list[Product] = []
    with temporary_folder() as folder:
        try:
            outcome = convert_one(
                inputs,
                folder / "array.nii",
                request or Request(),
                policy or Policy(),
                progress=progress,
                panel=panel,
                kept=lambda product, _: kept.append(product),
            )
        except PipelineError as error:
            raise _for_python(error) from error
        return _read_file(outcome, kept[0])


def read_all(
    inputs: OneOrManyPaths,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    panel: Panel | None = None,
) -> Generator[Mask | Image | PipelineError, None, None]:
    """Read every mask or image among the inputs, one after the other.

    Args:
        inputs: folders or files, one or several.
        request: which of them, and on which grid.
        policy: tolerances and choices; `as_="image"` reads images.
        progress: called with the stage, how much is done, and of how much.
        panel: the witnesses, where the caller has started them, who then ends them.

    Returns:
        A generator of each `Mask` or `Image` as soon as it is there, and of each refusal as a `PipelineError` that is not
        raised. No more than one is held here.

    Raises:
        PipelineError: where nothing can be begun, as `convert_all`.
    """
    kept: list[Product] = []
    stored = replace(policy or Policy(), gzip_level=0)
    with temporary_folder() as folder:
        for result in convert_each(
            inputs,
            folder,
            request=request,
            policy=stored,
            progress=progress,
            panel=panel,
            kept=lambda product, _: kept.append(product),
        ):
            if isinstance(result, PipelineError):
                yield result
            elif isinstance(result, Outcome):
                array = _read_file(result, kept.pop())
                result.output.unlink()
                yield array


def _for_python(error: PipelineError) -> PipelineError:
    """Return a refusal with what helps in Python, where its hint is for the command line."""
    finding = error.finding
    if finding.code not in _SEVERAL:
        return error
    hint = f"From Python: read_all(…) reads each; Request(series=…, part=…, wanted=…) chooses. {finding.hint}"
    return PipelineError(replace(finding, hint=hint), error.others, error.folder)


def _read_file(outcome: Outcome, product: Product) -> Mask | Image:
    """Take the bytes of a file that was proven. Raises READ_BACK_DIFFERS where they are others now."""
    data = read_bytes(outcome.output)
    proof = proof_of(outcome)
    if sha256(data).hexdigest() != proof.sha256:
        raise refuse(
            Code.READ_BACK_DIFFERS,
            f"the temporary file {outcome.output.name} was changed after it was proven",
            "Does something else write to the folder for temporary files? TMPDIR names another one.",
            where=(outcome.output.name,),
        )
    if outcome.output.name.endswith(".gz"):
        from isal import igzip

        data = igzip.decompress(data)
    kind = Image if outcome.labels is None else Mask
    return kind(proof, data, ArrayOrigin.of_product(product))
