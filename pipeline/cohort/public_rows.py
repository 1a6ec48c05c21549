"""Leave out of the rows of cohort.tsv what the user did not name as public, and what --strip takes out beyond that.

Rules:
- Rows are kept whole in private: in the plan, in the index, and in a table of their own that has one line for each line of
  cohort.tsv, in the same order. Only what is given to others goes through here.
- By default no folder and no file of the inputs is named. Stripped of names: descriptions, names of masks but for those of
  labels.toml, and sentences, which are replaced by the meaning of their code. Stripped of uids: UIDs, digests of inputs, and the
  keys of series, which follow from UIDs.
- New keys and UIDs follow from the old ones and the salt of the output folder: they stay in it from run to run, and whoever
  knows the UIDs cannot find them.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from ..conversion.neutral_names import KnownNames, NeutralNames
from ..conversion.public_record import UID
from ..core.codes import Code
from ..core.finding_help import HELP
from ..core.policy import Policy
from .case import TableRow

_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_QUOTED = re.compile(r"“(.*)”")
_LABEL = re.compile(r"label \d+")  # what a label is called that is stripped of its name
MASK = "mask"  # and a mask


def public_key(key: str, salt: bytes) -> str:
    """What the key of a series is replaced by, where UIDs are stripped. salt: of the output folder."""
    return hmac.new(salt, key.encode(), sha256).hexdigest()[:16] if key else ""


class PublicRows:
    """Makes the rows that are given to others."""

    def __init__(self, policy: Policy, labels: frozenset[str], salt: bytes) -> None:
        """policy: keep_names and strip. labels: names of labels.toml. salt: of the output folder."""
        self._policy, self._labels, self._salt = policy, labels, salt

    def publish(self, row: TableRow, names: Callable[[], KnownNames]) -> TableRow:
        """Return a row as it may be given to others.

        Args:
            row: of the plan or of a result.
            names: lists files and folders that its message may name; called where there is a message.

        Returns: the row, or a copy.
        """
        if not self._policy.keep_names:
            row = {**row, "folder": "", **self._without_files(row, names)}
        if self._policy.strips_names:
            row = {**row, **self._without_names(row)}
        if self._policy.strips_uids:
            row = {**row, **self._without_uids(row)}
        return row

    def _without_files(self, row: TableRow, names: Callable[[], KnownNames]) -> TableRow:
        made = {"series": row["kind"]} if row.get("kind") in ("file", "bundle") else {}
        described = {found[1] for found in _QUOTED.finditer(row.get("series", ""))}
        public = {*described, *self._labels, *(row.get(name, "") for name in ("subject", "session", "case"))}
        neutral, mask = NeutralNames([], names), row.get("mask", "")
        if mask and row.get("kind") == "image" and mask not in public:  # planes may be called by their folder
            made["mask"] = mask if neutral.with_public(public).text(mask) == mask else MASK
        if row.get("message"):
            known = {*public, made.get("mask", mask)}
            made["message"] = neutral.with_public(known).text(row["message"])
        return made

    def _without_names(self, row: TableRow) -> TableRow:
        made = {"series": row.get("series", "").partition(" “")[0]}
        mask = row.get("mask", "")
        if mask and mask not in self._labels and not _LABEL.fullmatch(mask):
            made["mask"] = MASK
        if row.get("message"):
            code = row.get("code", "")
            made["message"] = HELP[Code[code]].meaning if code in Code.__members__ else row["message"]
        return made

    def _without_uids(self, row: TableRow) -> TableRow:
        made = {name: public_key(row.get(name, ""), self._salt) for name in ("key", "image")}
        message = _KEY.sub(lambda found: public_key(found[0], self._salt), row.get("message", ""))
        return made | {"inputs_sha256": "", "message": re.sub(UID, lambda found: self._uid(found[0]), message)}

    def _uid(self, uid: str) -> str:
        digits = hmac.new(self._salt, uid.encode(), sha256).digest()[:16]
        return f"2.25.{int.from_bytes(digits, 'big')}"


def folder_as_path(folder: str) -> Path:
    """A path in a folder of the inputs that is known below INPUT only, to list its names by."""
    return Path("/", folder, MASK)
