"""Take an error that nobody expected for what it is: a bug of ours, which must not take other work with it.

Rules:
- One item of many that meets a bug is refused with it, and the others go on; the command ends as a bug does.
- The words are the error's own, with the place in our code: enough for a report. What is broken off keeps its traceback.
"""

from __future__ import annotations

import errno
from pathlib import Path

from .findings import Code, Finding, PipelineError
from .write_refusals import refused_by_disk

_NO_THREAD = "can't start new thread"  # as Python has it, with no class of its own
_ALONE = "Convert it alone, with a smaller --jobs, or on a larger machine."


def as_refusal(error: Exception, what: str = "it") -> PipelineError:
    """Make a refusal: itself, what the system does not give as MEMORY_LIMIT, else as UNEXPECTED. what: was worked on."""
    if isinstance(error, PipelineError):
        return error
    if (refusal := refused_by_disk(error)) is not None:
        return refusal
    if isinstance(error, MemoryError):
        words, hint, code = f"there is not enough memory for {what}", _ALONE, Code.MEMORY_LIMIT
    elif lacks_resources(error):
        words = f"the system gives no more threads, processes or memory for {what}: {getattr(error, 'strerror', '') or error}"
        hint, code = f"{_ALONE} ulimit -a, or the container's limits, say how much is given here.", Code.MEMORY_LIMIT
    else:
        code = Code.UNEXPECTED
        words = f"an unexpected error stopped {what}: {type(error).__name__}: {error} ({_place(error)})"
        hint = (
            "This is a bug of verimask, not of your data; please report it with this line. Nothing was written for it."
        )
    refusal = PipelineError(Finding(code, words, hint, where=(_place(error),)))
    refusal.__cause__ = error
    return refusal


def lacks_resources(error: BaseException) -> bool:
    """Whether the system gives no more memory, threads or processes."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or (error.errno == errno.EAGAIN and error.filename is None)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def _place(error: Exception) -> str:
    """The last line of our own code on the way."""
    from traceback import extract_tb

    ours = [f for f in extract_tb(error.__traceback__) if Path(__file__).parents[1] in Path(f.filename).parents]
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "outside of it"
