"""State where a result comes from in the terms of W3C PROV, as BEP028 (BIDS provenance) names them: the record's block Prov.

Rules:
- It is JSON-LD that is whole in itself: its context stands in it, with the terms of BEP028 (bids-specification, pull request
  2099) that it uses, so that nothing is fetched to read it.
- A file is named by its SHA-256 (RFC 6920, `nih:`), everything else by the SHA-256 of what it is (RFC 9562, UUID version 8). The
  same bytes converted by the same versions give the same block: it holds no time, path, file name or word of the user.
- Many inputs of one role are one collection, named by the digest of their digests; its members are in Provenance.Inputs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_CONTEXT: dict[str, Any] = {
    "@version": 1.1,
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "Records": {"@id": "@graph", "@container": "@type"},
    "Id": "@id",
    "Type": "@type",
    "Label": "rdfs:label",
    "Used": {"@id": "prov:used", "@type": "@id"},
    "AssociatedWith": {"@id": "prov:wasAssociatedWith", "@type": "@id"},
    "GeneratedBy": {"@id": "prov:wasGeneratedBy", "@type": "@id"},
    "Activities": "prov:Activity",
    "Software": "prov:Agent",
    "Environments": "prov:Entity",
    "Files": "prov:Entity",
}
_LABELS = {"": "input file", "source": "source image file", "clean": "clean export file", "like": "reference file"}
_COMMAND = re.compile(r"verimask [a-z]+")


def build_prov(record: Mapping[str, Any]) -> dict[str, Any]:
    """Build the block from the rest of a record, of any version.

    Args:
        record: of a conversion, with ConversionSoftwareVersion, Provenance, and Type where it is of a mask.

    Returns: `@context` and `Records` (Software, Environments, Activities, Files, prov:Entity), of values that JSON has.
    """
    proof, version = record["Provenance"], record["ConversionSoftwareVersion"]
    software = {"Id": _urn("software", "verimask", version), "Label": "verimask", "Version": version}
    packages = sorted(f"{name} {number}" for name, number in proof["Versions"].items())
    environment = {"Id": _urn("environment", *packages), "Label": "Python environment"}
    used, sets = _entities_read(proof["Inputs"])
    outputs = {"NIfTI mask" if "Type" in record else "NIfTI image": proof["OutputSHA256"]}
    if "LabelsFile" in proof:
        outputs["label names"] = proof["LabelsFile"]["SHA256"]
    sources = list(dict.fromkeys([environment["Id"], *(entity["Id"] for entity in (*used, *sets))]))
    activity = {
        "Id": _urn("conversion", software["Id"], *sources, *sorted(outputs.values())),
        "Label": "DICOM to NIfTI conversion",
        "Command": _named(proof["Command"], "verimask.write" if "Array" in record else "verimask.convert"),
        "AssociatedWith": software["Id"],
        "Used": sources,
    }
    made = [_file(label, digest) | {"GeneratedBy": activity["Id"]} for label, digest in outputs.items()]
    records = {
        "Software": [software],
        "Environments": [environment | {"Dependencies": dict(proof["Versions"])}],
        "Activities": [activity],
        "Files": _once([*made, *used]),
    }
    return {"@context": _CONTEXT, "Records": records | ({"prov:Entity": _once(sets)} if sets else {})}


def digest_of_set(digests: Iterable[str]) -> str:
    """Return the SHA-256 of a set of files: of their digests in hexadecimal, sorted, with a line feed between each two."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _entities_read(inputs: Iterable[Mapping[str, str]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The files that were read alone for their part, and the collections of those that were not, by role."""
    groups: dict[str, list[str]] = {}
    for entry in inputs:
        groups.setdefault(entry.get("Role", ""), []).append(entry["SHA256"])
    parts = [(_LABELS[role], groups[role]) for role in sorted(groups)]
    alone = [_file(label, group[0]) for label, group in parts if len(group) == 1]
    return alone, [_collection(f"{len(group)} {label}s", group) for label, group in parts if len(group) > 1]


def _file(label: str, digest: str) -> dict[str, Any]:
    return {"Id": f"nih:sha-256;{digest}", "Label": label, "Digest": {"SHA-256": digest}}


def _collection(label: str, digests: Sequence[str]) -> dict[str, Any]:
    return _file(label, digest_of_set(digests)) | {"Type": "prov:Collection"}


def _once(entities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first entity of each name: what has the same bytes is the same, as a reference file that the result equals."""
    first: dict[str, dict[str, Any]] = {}
    for entity in entities:
        first.setdefault(entity["Id"], entity)
    return list(first.values())


def _named(command: Sequence[str], function: str) -> str:
    """The program and its command. Null would be a conversion by hand; the further words may name a patient."""
    words = " ".join(command[:2])
    return words if _COMMAND.fullmatch(words) else function


def _urn(*attributes: str) -> str:
    """A UUID of version 8 made of what it names (RFC 9562, 5.8 and B.2)."""
    octets = bytearray(hashlib.sha256("\n".join(attributes).encode()).digest()[:16])
    octets[6] = 0x80 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    text = octets.hex()
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
