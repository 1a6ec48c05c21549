"""Read what was typed for a conversion: which of the inputs, on which grid, and the choices of its policy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..conversion.request import ExportDescription, Request
    from ..core.policy import Policy


def read_request(options: argparse.Namespace) -> Request:
    """Read what is wanted of the inputs."""
    from ..conversion.request import Request

    return Request(
        series=options.series,
        part=options.part,
        source=options.source,
        like=options.like,
        wanted=_split_names(options.rois),
        export=_read_export_facts(options),
        clean=options.clean,
        merge=options.merge,
        order=_split_names(options.order) or (),
        images=options.images,
    )


def _read_export_facts(options: argparse.Namespace) -> ExportDescription:
    """Read what the user says of an export that holds a mask in its image."""
    from ..conversion.request import ExportDescription
    from ..decode.embedded.labelled import Named, parse_labels

    named = () if options.labels is None else parse_labels(options.labels)
    if options.inside is not None:
        named = (*named, Named("", options.inside))
    return ExportDescription(named, options.outside, options.kind, options.undecided)


def _split_names(text: str | None) -> tuple[str, ...] | None:
    """Split NAME,NAME. None where the option was not given; an empty name, which is refused, where it names nothing."""
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip()) or ("",)


def read_policy(options: argparse.Namespace) -> Policy:
    """Read the tolerances and choices."""
    from dataclasses import fields

    from ..core.policy import Policy

    names = {f.name for f in fields(Policy)}
    return Policy(**{name: value for name, value in vars(options).items() if name in names})
