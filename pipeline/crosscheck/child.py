"""A witness in a process of its own: started early, asked many times, never able to take the conversion down.

Rules:
- The parent writes a job as one JSON line; the child answers with one line. An array travels as a .npy file in a folder
  that the parent made; whichever of the two ends last removes it.
- What a witness prints goes nowhere; what it raises becomes its refusal, word for word.
- A child that dies, hangs, or answers what cannot be read has FAILED, in words of ours, and is ended with all that it
  started. It answers nothing more; whoever wants it again starts another.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from ..core.workers import BackgroundCall, kill, python_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from subprocess import Popen

    from .agreement import Job, Testimony

_LONGEST = 1 << 20  # bytes of an answer: it is one line of numbers and words
_LAST_WORDS = 300  # bytes of standard error that are kept
_TURN_S = 1.0  # between two looks at a process that is waited for; a key that stops us is heard as often


ONLY_WHOLE = "it cannot be shown only some frames of a multi-frame instance"


class WitnessFailure(Exception):
    """What kept a witness from saying anything, in words."""


class Child:
    """A warm witness process. `ask` blocks until it has answered; `send` and `receive` let other work go on between.

    pixels: whether it will be asked for voxels; one that reads headers alone starts faster.
    failure: why it answers nothing any more; empty while it does.
    """

    def __init__(self, module: str, witness: str, *, pixels: bool = True) -> None:
        from queue import SimpleQueue

        self.witness, self.pixels, self.failure = witness, pixels, ""
        self._unanswered, self._ended = 0, False
        self._folder = ""
        self._jobs: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._errors = bytearray()
        self._process: Popen[bytes] | None = None
        try:
            self._start(module)
        except OSError as error:
            self._fail(f"its process cannot be started: {error.strerror or error}")

    def send(self, job: Job) -> None:
        """Hand over a job; its answer is read by `receive`."""
        import json
        from dataclasses import asdict

        self._unanswered += 1
        self._jobs.put(json.dumps(asdict(job)).encode() + b"\n")

    def receive(self, limit_s: float = 600.0) -> Testimony:
        """The answer to the last job sent, or how the child failed. limit_s: how long to wait for it."""
        from .agreement import Testimony

        if not self.failure:
            try:
                return _testimony(self.witness, self._next_line(limit_s))
            except WitnessFailure as failure:
                self._fail(str(failure))
        return Testimony(self.witness, "", failure=self.failure)

    def ask(self, job: Job) -> Testimony:
        self.send(job)
        return self.receive()

    def close(self) -> None:
        """End the process, whatever it does, with all that it started; and remove what it left."""
        if self._ended:
            return
        self._ended = True
        self._jobs.put(None)
        if self._process is not None:
            kill(self._process)
        if self._folder:
            from shutil import rmtree

            rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, module: str) -> None:
        if self.pixels:  # for headers alone nothing is put down, and to import tempfile costs time
            from tempfile import mkdtemp

            self._folder = mkdtemp(prefix="verimask-")
        arguments = ("pixels", self._folder) if self.pixels else ("headers",)
        self._process = process = python_process(module, *arguments, folder=self._folder, keep_errors=True)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # In threads, since a process that hangs neither reads nor writes, and nothing here may wait for it.
        self._talk = BackgroundCall(partial(_converse, process.stdin, process.stdout, self._jobs, self._answers))
        self._listening = BackgroundCall(partial(_keep_last, process.stderr, self._errors))

    def _next_line(self, limit_s: float) -> bytes:
        """The line that answers the last job; those before it answer jobs that nobody waits for any more."""
        from queue import Empty
        from time import monotonic

        assert self._process is not None
        last = monotonic() + limit_s
        line = b""
        while self._unanswered:
            left = last - monotonic()
            try:
                line = self._answers.get(timeout=max(0.0, min(_TURN_S, left)))
            except Empty:
                if self._process.poll() is None and left > 0:
                    continue
                line = b""
                if left <= 0:
                    raise WitnessFailure(f"gave no answer within {limit_s:g} s") from None
            if not line:
                raise WitnessFailure(_how_it_ended(self._process))
            self._unanswered -= 1
        return line

    def _fail(self, why: str) -> None:
        self.close()
        said = ""
        if self._process is not None:
            self._listening.wait(_TURN_S)
            said = last_line(bytes(self._errors))
        self.failure = f"{why}; its last words: {said}" if said else why


def _converse(
    stdin: IO[bytes], stdout: IO[bytes], jobs: SimpleQueue[bytes | None], answers: SimpleQueue[bytes]
) -> None:
    """Hand over one job after the other and take its answer; an empty one where the process has none."""
    with stdout, stdin:
        for job in iter(jobs.get, None):
            with suppress(OSError):  # it is dead, and its answer says so
                stdin.write(job)
                stdin.flush()
            answers.put(stdout.readline(_LONGEST))


def _keep_last(stderr: IO[bytes], kept: bytearray) -> None:
    """Read a pipe to its end and keep the last of it."""
    with stderr:
        while read := os.read(stderr.fileno(), 1 << 16):
            kept += read
            del kept[:-_LAST_WORDS]


def _how_it_ended(process: Popen[bytes]) -> str:
    """Of a process whose output has ended."""
    from subprocess import TimeoutExpired

    try:
        return in_status(process.wait(timeout=_TURN_S))
    except TimeoutExpired:
        return "closed its output without an answer"


def in_status(code: int) -> str:
    """The exit status of a process, or the signal that killed it by its name."""
    if code >= 0:
        return f"ended with exit status {code}"
    import signal

    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def last_line(said: bytes) -> str:
    """Printable, and without the folders of this machine."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return without_folders(lines[-1]) if lines else ""


def without_folders(text: str) -> str:
    """A text from outside as it may be shown and recorded: no control characters, and files by their names."""
    shown = "".join(c if c.isprintable() else " " for c in text).strip()
    return re.sub(r"(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+", "", shown)


def _testimony(witness: str, line: bytes) -> Testimony:
    """An answer as it was meant. Raises WitnessFailure for one that cannot be read."""
    import json

    import numpy as np

    from .agreement import Testimony

    try:
        told = json.loads(line)
        affine = None if told["affine_ras"] is None else np.array(told["affine_ras"], float)
        shape = tuple(int(n) for n in told["shape"])
        words = {name: str(told[name]) for name in ("version", "refusal", "note")}
        path = told["array"] and os.fspath(told["array"])
        if affine is not None and (affine.shape != (4, 4) or not shape or min(shape) < 1):
            raise ValueError("no affine of an array")
    except (ValueError, TypeError, KeyError, AttributeError):  # a UnicodeDecodeError is a ValueError too
        begin = without_folders(line[:60].decode("utf-8", "replace"))
        raise WitnessFailure(f"gave an answer that cannot be read: {begin}") from None
    array = _loaded(path, shape) if path else None
    return Testimony(witness, affine_ras=affine, shape=shape, array=array, **words)


def _loaded(path: str, shape: tuple[int, ...]) -> Any:
    """The array of an answer, mapped from its file."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise WitnessFailure("its array file is gone") from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise WitnessFailure(f"its array file cannot be read: {without_folders(in_words(error))}") from None
    if array.shape != shape:
        raise WitnessFailure(f"its array is {array.shape}, not {shape} as it says")
    return array


def serve(witness: str, version: Callable[[], str], testify: Callable[[Job], Testimony]) -> None:
    """The child's side: answer jobs from standard input until it closes."""
    import json
    from queue import SimpleQueue

    from .agreement import Job, Testimony

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the witness prints must not break the protocol
    folder = next(iter(sys.argv[2:]), "")
    jobs: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_take_jobs, args=(jobs, folder), daemon=True).start()
    for number, line in enumerate(iter(jobs.get, b"")):
        job = json.loads(line)
        try:
            asked = Job(tuple(job["files"]), tuple(job["frame_numbers"]), job["voxels"], job["whole"])
            told = testify(asked) if asked.whole else Testimony(witness, version(), refusal=ONLY_WHOLE)
        except Exception as error:  # its own words are what the user is to see
            told = Testimony(witness, version(), refusal=in_words(error))
        answers.write(json.dumps(_as_record(told, folder, number)) + "\n")
        answers.flush()


def _take_jobs(jobs: SimpleQueue[bytes], folder: str) -> None:
    """Read jobs until the parent is gone; then nobody wants an answer, not even one that is being worked on."""
    with os.fdopen(os.dup(0), "rb") as lines:  # of this thread alone: at its end an interpreter waits for its own
        for line in lines:
            jobs.put(line)
    if folder:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)
    os._exit(0)


def version(package: str) -> str:
    """Of an installed package."""
    from importlib import metadata

    return metadata.version(package)


def in_words(error: BaseException) -> str:
    """The type and the first line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _as_record(told: Testimony, folder: str, number: int) -> dict[str, Any]:
    array = None
    if told.array is not None:
        import numpy as np

        for old in os.listdir(folder):
            if old.endswith(".npy"):
                os.unlink(os.path.join(folder, old))
        array = os.path.join(folder, f"{number}.npy")
        np.save(array, told.array)
    return {
        "witness": told.witness,
        "version": told.version,
        "affine_ras": None if told.affine_ras is None else told.affine_ras.tolist(),
        "shape": list(told.shape),
        "array": array,
        "refusal": told.refusal,
        "note": told.note,
    }
