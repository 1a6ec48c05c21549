"""Make the tree of `command_tree` with a marker in every text, UID, date, time and name.

Rules:
- What `command_tree` asks a text for has one marker each; every other attribute that can hold text has one beside.
- UIDs that the files refer to each other by are replaced by markers alike in all of them, so that the tree stays one study.
"""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread

from tests.helpers.command_tree import CommandTree, make_tree, write_archive
from tests.helpers.marks import Marks

_CLASSES = "1.2.840.10008."


def make_marked_tree(folder: Path, marks: Marks) -> CommandTree:
    """Write the tree.

    Args:
        folder: of everything.
        marks: gets what every marker stands for.

    Returns: the paths of the tree.
    """
    texts: dict[str, str] = {}

    def text(what: str) -> str:
        if what not in texts:
            texts[what] = marks.text(what)
        return texts[what]

    tree = make_tree(folder, text)
    more, uids = marks.mark(Dataset()), dict[str, str]()
    for path in sorted(folder.rglob("*.dcm")):
        dataset = dcmread(path)
        _replace_uids(dataset, uids, marks)
        for element in more:
            if element.tag not in dataset or element.VR in ("DA", "TM", "DT"):
                dataset.add(element)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)
    write_archive(tree)
    return tree


def _replace_uids(dataset: Dataset, uids: dict[str, str], marks: Marks) -> None:
    """Replace every UID but those of the standard, in sequences too."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _replace_uids(item, uids, marks)
        elif element.VR == "UI" and isinstance(element.value, str) and not element.value.startswith(_CLASSES):
            if element.value not in uids:
                uids[element.value] = marks.uid(element.keyword)
            element.value = uids[element.value]
