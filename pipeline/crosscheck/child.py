"""A witness in a process of its own: started early, asked many times, never able to take the conversion down.

The parent writes a job as one JSON line; the child answers with one line. An array travels as a .npy file. What a
witness prints goes nowhere; what it raises becomes its refusal, word for word.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline.beside import python_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.crosscheck.agreement import Job, Testimony


class Child:
    """A warm witness process. `ask` blocks until it has answered; `send` and `receive` let other work go on between.

    pixels: whether it will be asked for voxels; one that reads headers alone starts faster.
    """

    def __init__(self, module: str, witness: str, *, pixels: bool = True) -> None:
        self.witness, self.pixels = witness, pixels
        self._unanswered = 0
        self._array = ""
        self._process = python_process(module, "pixels" if pixels else "headers")

    def send(self, job: Job) -> None:
        """Hand over a job; its answer is read by `receive`."""
        import json
        from dataclasses import asdict

        assert self._process.stdin is not None
        self._unanswered += 1
        try:
            self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the child is dead, and `receive` says so

    def receive(self) -> Testimony:
        """The answer to the last job sent."""
        import json

        import numpy as np

        from pipeline.crosscheck.agreement import Testimony

        assert self._process.stdout is not None
        for _ in range(self._unanswered):
            line = self._process.stdout.readline()
        self._unanswered = 0
        if not line:
            code = self._process.wait()
            return Testimony(self.witness, "", refusal=f"its process ended with status {code}")
        told = json.loads(line)
        self._array = told.pop("array") or ""
        array = np.load(self._array, mmap_mode="r") if self._array else None
        affine = np.array(told.pop("affine_ras")) if told.get("affine_ras") else None
        return Testimony(**{**told, "affine_ras": affine, "array": array, "shape": tuple(told["shape"])})

    def ask(self, job: Job) -> Testimony:
        self.send(job)
        return self.receive()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        from subprocess import TimeoutExpired

        with suppress(BrokenPipeError):  # it may have died with a job unread
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=5)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()
            if self._array:  # it had no time to remove it
                from shutil import rmtree

                rmtree(os.path.dirname(self._array), ignore_errors=True)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(witness: str, version: Callable[[], str], testify: Callable[[Job], Testimony]) -> None:
    """The child's side: answer jobs from standard input until it closes."""
    import json
    from tempfile import TemporaryDirectory

    from pipeline.crosscheck.agreement import Job, Testimony

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the witness prints must not break the protocol
    with TemporaryDirectory(prefix="verimask-") as folder:
        for number, line in enumerate(sys.stdin):
            job = json.loads(line)
            try:
                told = testify(Job(tuple(job["files"]), tuple(job["frame_numbers"]), job["voxels"]))
            except Exception as error:  # its own words are what the user is to see
                told = Testimony(witness, version(), refusal=in_words(error))
            answers.write(json.dumps(_as_record(told, folder, number)) + "\n")
            answers.flush()


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
