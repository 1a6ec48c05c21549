"""Run a witness in a process of its own: started early, asked many times, never able to stop the conversion.

Rules:
- The parent writes a job as one JSON line; the child answers with one line. An array travels as a .npy file in a folder
  that the parent made; whichever of the two ends last removes it.
- What a witness prints goes nowhere; what it raises becomes its refusal, word for word.
- A child that dies, hangs, or gives an answer that cannot be read has FAILED, in words of ours, and is ended with all
  that it started. It answers no further job; to ask this witness again, start another child.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from ..core.plain_text import strip_folders
from ..core.temporary_folder import make_temporary_folder, remove_temporary_folder
from ..core.workers import BackgroundCall, describe_end, kill, python_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from subprocess import Popen

    from .testimony import Job, MaskJob, Testimony

_LONGEST = 1 << 20  # bytes of an answer: it is one line of numbers and words
_LAST_WORDS = 300  # bytes of standard error that are kept: a line or two, which name the error
_TURN_S = 1.0  # between two looks at a process that is waited for; an interrupt from the keyboard is noticed as often
_SHOWN = 60  # bytes of an answer that cannot be read which are quoted

ONLY_WHOLE = "it cannot be shown only some frames of a multi-frame instance"


class WitnessFailure(Exception):
    """Why a witness gave no answer, in words of ours."""


class Child:
    """A witness process that is started once and answers many jobs.

    `ask` blocks until it has answered; `send` and `receive` let other work go on in between, for one job or for several.
    pixels: whether it will be asked for voxels; one that reads headers alone starts faster.
    failure: why it answers no longer; empty while it does. ended: whether it was closed. folder: for files of the job, which
    whoever of the two processes ends last removes; "" for one that reads headers alone.
    """

    def __init__(self, module: str, witness: str, *, pixels: bool = True) -> None:
        from queue import SimpleQueue

        self.witness, self.pixels, self.failure = witness, pixels, ""
        self._sent, self._given_up, self.ended = 0, 0, False  # jobs without an answer; those of them that nobody wants
        self.folder = ""
        self._jobs: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._errors = bytearray()
        self._process: Popen[bytes] | None = None
        try:
            self._start(module)
        except OSError as error:
            self._fail(f"its process cannot be started: {error.strerror or error}")
        except BaseException:  # broken off before there is a process that would remove the folder
            self.close()
            raise

    def send(self, *jobs: Job | MaskJob) -> None:
        """Hand over jobs, in place of those that were not answered yet; `receive` reads their answers one by one."""
        import json
        from dataclasses import asdict
        from queue import Empty

        with suppress(Empty):
            while True:
                self._jobs.get_nowait()
                self._sent -= 1
        self._given_up = self._sent
        self._sent += len(jobs)
        for job in jobs:
            self._jobs.put(json.dumps(asdict(job)).encode() + b"\n")

    def receive(self, limit_s: float = 600.0) -> Testimony:
        """Wait at most `limit_s` for the answer to the next of the jobs sent; return it, or how the child failed."""
        from .testimony import Testimony

        if self._process is not None and not self.failure:
            try:
                return _read_testimony(self.witness, self._next_line(self._process, limit_s))
            except WitnessFailure as failure:
                self._fail(str(failure))
        return Testimony(self.witness, "", failure=self.failure)

    def ask(self, job: Job | MaskJob) -> Testimony:
        """Hand over a job and wait for its answer."""
        self.send(job)
        return self.receive()

    @property
    def is_idle(self) -> bool:
        """Whether its process runs and owes no answer, so that a new job is the only one it has."""
        return not self.ended and self._sent == 0 and self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it is doing, with all that it started; remove the files it left."""
        if self.ended:
            return
        self.ended = True
        self._jobs.put(None)
        if self._process is not None:
            kill(self._process)
        if self.folder:
            remove_temporary_folder(Path(self.folder))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, module: str) -> None:
        if self.pixels:  # for headers alone no file is written
            self.folder = str(make_temporary_folder())
        arguments = ("pixels", self.folder) if self.pixels else ("headers",)
        self._process = python_process(module, *arguments, folder=self.folder, keep_errors=True)
        stdin, stdout, stderr = _get_pipes(self._process)
        # In threads, since a process that hangs neither reads nor writes, and nothing here may wait for it.
        self._conversation = BackgroundCall(partial(_converse, stdin, stdout, self._jobs, self._answers))
        self._listening = BackgroundCall(partial(_keep_last, stderr, self._errors))

    def _next_line(self, process: Popen[bytes], limit_s: float) -> bytes:
        """Wait for the line that answers the next job; those before it answer jobs whose caller has given up."""
        from queue import Empty
        from time import monotonic

        deadline = monotonic() + limit_s
        while True:
            left = deadline - monotonic()
            try:
                line = self._answers.get(timeout=max(0.0, min(_TURN_S, left)))
            except Empty:
                if process.poll() is None and left > 0:
                    continue
                line = b""
                if left <= 0:
                    raise WitnessFailure(f"gave no answer within {limit_s:g} s") from None
            if not line:
                raise WitnessFailure(describe_end(process, _TURN_S))
            self._sent -= 1
            if not self._given_up:
                return line
            self._given_up -= 1

    def _fail(self, why: str) -> None:
        self.close()
        last_words = ""
        if self._process is not None:
            self._listening.wait(_TURN_S)
            last_words = read_last_line(bytes(self._errors))
        self.failure = f"{why}; its last words: {last_words}" if last_words else why


def _get_pipes(process: Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """Return standard input, output and error of a process. Raises OSError where one is no pipe."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise OSError("it has no pipes")
    return process.stdin, process.stdout, process.stderr


def _converse(
    stdin: IO[bytes], stdout: IO[bytes], jobs: SimpleQueue[bytes | None], answers: SimpleQueue[bytes]
) -> None:
    """Hand over one job after the other and take its answer; an empty one where the process has ended."""
    with stdout, stdin:
        for job in iter(jobs.get, None):
            with suppress(OSError):  # the process is dead, and the empty answer shows it
                stdin.write(job)
                stdin.flush()
            answers.put(stdout.readline(_LONGEST))


def _keep_last(stderr: IO[bytes], kept: bytearray) -> None:
    """Read a pipe to its end and keep its last bytes in `kept`, which another thread may read at any time."""
    with stderr:
        while read := os.read(stderr.fileno(), 1 << 16):
            kept += read
            del kept[:-_LAST_WORDS]


def read_last_line(printed: bytes) -> str:
    """Return the last line that is not blank, printable and without the folders of this machine."""
    lines = [line for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    return strip_folders(lines[-1]) if lines else ""


def _read_testimony(witness: str, line: bytes) -> Testimony:
    """Read the line that a child has answered with. Raises WitnessFailure for one that cannot be read."""
    import json

    import numpy as np

    from .testimony import Testimony

    try:
        answer = json.loads(line)
        affine = None if answer["affine_ras"] is None else np.array(answer["affine_ras"], float)
        shape = tuple(int(n) for n in answer["shape"])
        words = {name: str(answer[name]) for name in ("version", "refusal", "note")}
        i, j, k = (int(n) for n in answer["box"])
        path = answer["array"] and os.fspath(answer["array"])
        if affine is not None and (affine.shape != (4, 4) or not shape or min(shape) < 1):
            raise ValueError("no affine of an array")
    except (ValueError, TypeError, KeyError, AttributeError):  # a UnicodeDecodeError is a ValueError too
        beginning = strip_folders(line[:_SHOWN].decode("utf-8", "replace"))
        raise WitnessFailure(f"gave an answer that cannot be read: {beginning}") from None
    array = _map_array(path, shape, (i, j, k)) if path else None
    return Testimony(witness, affine_ras=affine, shape=shape, array=array, box=(i, j, k), **words)


def _map_array(path: str, shape: tuple[int, ...], box: tuple[int, int, int]) -> Any:
    """Map the array of an answer from its file. Raises WitnessFailure where it is gone, unreadable or of another shape."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise WitnessFailure("its array file is gone") from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise WitnessFailure(f"its array file cannot be read: {strip_folders(describe_error(error))}") from None
    is_part = len(shape) == array.ndim == 3 and all(
        first >= 0 and first + count <= whole for first, count, whole in zip(box, array.shape, shape, strict=True)
    )
    if array.shape != shape and not is_part:
        raise WitnessFailure(f"its array is {array.shape}, not {shape} as it says")
    return array


def serve(witness: str, version: Callable[[], str], answer: Callable[[Job], Testimony]) -> None:
    """Answer jobs from standard input, in the child process, which ends as soon as it is closed.

    Args:
        witness: its name.
        version: finds the version of the installed witness.
        answer: gives the testimony for a job; what it raises becomes the witness's refusal.
    """
    from .testimony import Job, Testimony

    def answer_job(values: dict[str, Any]) -> Testimony:
        asked = Job.of(values)
        return answer(asked) if asked.whole else Testimony(witness, version(), refusal=ONLY_WHOLE)

    _serve(witness, version, answer_job)


def serve_masks(witness: str, version: Callable[[], str], answer: Callable[[MaskJob], Testimony]) -> None:
    """Answer jobs of a reader of masks from standard input, as `serve` does.

    Args:
        witness: its name.
        version: finds the version of the installed reader.
        answer: gives the testimony for a job; what it raises becomes the reader's refusal.
    """
    from .testimony import MaskJob

    _serve(witness, version, lambda values: answer(MaskJob.of(values)))


def _serve(witness: str, version: Callable[[], str], answer: Callable[[dict[str, Any]], Testimony]) -> None:
    import json
    from queue import SimpleQueue

    from .testimony import Testimony

    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the witness prints must not break the protocol
    folder = next(iter(sys.argv[2:]), "")
    jobs: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_take_jobs, args=(jobs, folder), daemon=True).start()
    for number, line in enumerate(iter(jobs.get, b"")):
        try:
            testimony = answer(json.loads(line))
        except Exception as error:  # its own words are what the user is to see
            testimony = Testimony(witness, version(), refusal=describe_error(error))
        output.write(json.dumps(_as_record(testimony, folder, number)) + "\n")
        output.flush()


def _take_jobs(jobs: SimpleQueue[bytes], folder: str) -> None:
    """Read jobs until the parent is gone; then end the process, since no answer is wanted any more."""
    with os.fdopen(os.dup(0), "rb") as lines:  # not sys.stdin: an interpreter that ends waits for its lock
        for line in lines:
            jobs.put(line)
    if folder:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)
    os._exit(0)


@lru_cache
def find_version(package: str) -> str:
    """Find the version of an installed package."""
    from importlib import metadata

    return metadata.version(package)


def describe_error(error: BaseException) -> str:
    """Give the type and the first line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _as_record(testimony: Testimony, folder: str, number: int) -> dict[str, Any]:
    """Make the JSON object of an answer. Its array is saved in the folder, in place of the one before."""
    array = None
    if testimony.array is not None:
        import numpy as np

        for old in (name for name in os.listdir(folder) if name.endswith(".npy")):
            with suppress(PermissionError):  # on Windows, while the parent has it mapped: it goes with the folder
                os.unlink(os.path.join(folder, old))
        array = os.path.join(folder, f"{number}.npy")
        np.save(array, testimony.array)
    return {
        "witness": testimony.witness,
        "version": testimony.version,
        "affine_ras": None if testimony.affine_ras is None else testimony.affine_ras.tolist(),
        "shape": list(testimony.shape),
        "array": array,
        "box": list(testimony.box),
        "refusal": testimony.refusal,
        "note": testimony.note,
    }
