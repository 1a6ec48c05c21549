"""The fields of BEP028's records as a JSON schema: BEP028 publishes none, so its definitions are written out here.

They are those of src/schema/objects/metadata.yaml in pull request 2099 of bids-standard/bids-specification (Activities, Software,
Environments, Files, ProvEntity) as of the community review: names, types and which are required; no text of it.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

_TEXT, _OBJECT, _URI = {"type": "string"}, {"type": "object"}, {"type": "string", "format": "uri"}
_URIS = {"anyOf": [_URI, {"type": "array", "items": _URI}]}
_OF_ANY = {"Id": _URI, "Label": _TEXT}
_OF_ENTITY = _OF_ANY | {"Digest": _OBJECT, "GeneratedBy": _URIS, "Type": _URIS}


def _records(required: str, fields: dict[str, Any]) -> dict[str, Any]:
    one = {"type": "object", "required": required.split(), "properties": fields, "additionalProperties": False}
    return {"type": "array", "minItems": 1, "items": one}


_TIMES = {"StartedAtTime": _TEXT, "EndedAtTime": _TEXT}
_DONE = {"Command": {"type": ["string", "null"]}, "Description": _TEXT, "AssociatedWith": _URIS, "Used": _URIS}
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "Activities": _records("Id Label Command", _OF_ANY | _DONE | {"Type": _URIS} | _TIMES),
        "Software": _records(
            "Id Label Version", _OF_ANY | {"Version": _TEXT, "AltIdentifier": _URIS, "ActedOnBehalfOf": _URI}
        ),
        "Environments": _records(
            "Id Label", _OF_ANY | {"EnvVars": _OBJECT, "OperatingSystem": _TEXT, "Dependencies": _OBJECT}
        ),
        "Files": _records("Id Label", _OF_ENTITY | {"AtLocation": _TEXT}),
        "prov:Entity": _records("Id Label", _OF_ENTITY),
    },
}
_SUMS = {"MD5", "SHA1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"}  # the names it has for digests, and a few more


def errors_of(records: dict[str, Any]) -> list[str]:
    """What is wrong with the records of a block, by BEP028: fields, names of digests, and names that lead nowhere."""
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(_SCHEMA).iter_errors(records)]
    entries = [(kind, entry) for kind, entries in records.items() for entry in entries]
    kinds: dict[str, set[str]] = {}
    for kind, entry in entries:
        kinds.setdefault(entry.get("Id", ""), set()).add(kind)
        errors += [f"a digest is called {name}" for name in entry.get("Digest", {}) if name not in _SUMS]
    errors += [f"{name} names several" for name in kinds if sum(entry.get("Id") == name for _, entry in entries) > 1]
    leads = {
        "AssociatedWith": {"Software"},
        "GeneratedBy": {"Activities"},
        "Used": {"Files", "prov:Entity", "Environments"},
    }
    for _, entry in entries:
        for key, to in leads.items():
            names = entry.get(key, [])
            for name in [names] if isinstance(names, str) else names:
                if not kinds.get(name, set()) & to:
                    errors.append(f"{key} leads to no record of {sorted(to)}: {name}")
    return errors
