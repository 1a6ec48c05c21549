"""Serve as the process that decodes, with a decoder of JPEG-LS that does what a comment in the stream says.

Run in place of `pipeline.dicom.decoder_worker`. A stream without such a comment is decoded as ever.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders import JPEGLSLosslessDecoder

from pipeline.core.findings import Code, refuse
from pipeline.dicom import decoder_worker, decoding
from pipeline.dicom.encoding import load

MODULE = __name__
REFUSED = "refused.dcm"  # a file of this name is refused as a whole


def plant(path: Path, word: bytes, number: int = 1) -> None:
    """Put a comment into the stream of one frame, which leaves it as good as it was. number: of the frame, from 1."""
    dataset = dcmread(path)
    count = int(dataset.get("NumberOfFrames") or 1)
    frames = [get_frame(dataset.PixelData, n, number_of_frames=count) for n in range(count)]
    comment = b"\xff\xfe" + (2 + len(word)).to_bytes(2, "big") + word
    frames[number - 1] = frames[number - 1][:2] + comment + frames[number - 1][2:]
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def _obey(stream: bytes) -> None:
    if b"ABORT" in stream:
        os.abort()
    if b"CRASH" in stream:
        ctypes.string_at(0)
    if b"HANG!" in stream:
        time.sleep(1e6)
    if b"LEAVE" in stream:
        os._exit(0)
    if b"SWELL" in stream:
        bytearray(1 << 40)


def _load(path: Path, **options: Any) -> Any:
    if path.name == REFUSED:
        raise refuse(Code.PIXEL_LENGTH, "a file", "a hint", where=(REFUSED,), measured=3, limit=2, unit="bytes")
    return load(path, **options)


def main() -> None:
    decoding.load = _load
    before: Any = JPEGLSLosslessDecoder._available["pyjpegls"]

    def decode(stream: bytes, runner: Any) -> Any:
        _obey(stream)
        return before(stream, runner)

    def bloated(stream: bytes, runner: Any) -> Any:
        raise MemoryError

    others = {name: function for name, function in JPEGLSLosslessDecoder._available.items() if name != "pyjpegls"}
    for name, function in others.items():
        JPEGLSLosslessDecoder._available[name] = lambda stream, runner, usual=function: (
            bloated if b"SWELL ALL" in stream else usual
        )(stream, runner)
    JPEGLSLosslessDecoder._available["pyjpegls"] = decode
    decoder_worker.main()


if __name__ == "__main__":
    main()
