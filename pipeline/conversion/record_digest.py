"""Give the text of a record its own SHA-256, and check it.

Rules:
- `RecordSHA256` is the last key of a record: the digest of the file's own bytes, with the 64 digits of it as zeros.
- Whoever writes a record again makes the digest anew. Records of before it have none.
- It shows a change, not who made it: whoever changes a record on purpose can make a new digest too.
"""

from __future__ import annotations

import re
from hashlib import sha256

KEY = "RecordSHA256"
ZEROS = "0" * 64
_AT_END = re.compile(rb'"RecordSHA256": "([0-9a-f]{64})"\s*\}\s*\Z')
_TAIL = 256  # bytes at the end of a record that hold the digest


def seal(text: str) -> tuple[bytes, str]:
    """Put the digest of a record in its place.

    Args:
        text: of the record, which ends with `KEY` and `ZEROS`.

    Returns: the bytes of the file, and the digest.
    """
    data = text.encode("utf-8")
    digest = sha256(data).hexdigest()
    before, _, after = data.rpartition(ZEROS.encode())
    return before + digest.encode() + after, digest


def read_seal(data: bytes) -> tuple[str, str] | None:
    """Find the digest at the end of a record, and the one that its bytes have.

    Args:
        data: the bytes of the record's file.

    Returns: the digest that is stated and the one that is found; None where none stands at the end.
    """
    found = _AT_END.search(data, max(0, len(data) - _TAIL))
    if found is None:
        return None
    blank = sha256(data[: found.start(1)])
    blank.update(ZEROS.encode())
    blank.update(data[found.end(1) :])
    return found[1].decode(), blank.hexdigest()
