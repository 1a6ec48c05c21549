"""Count the frames of an instance, and the bits of each.

Rules:
- Functional groups count before Number of Frames, because they alone give a frame its place; the bytes decide where the
  two contradict each other.
- A claim that the file is too small for is not followed. `pixel_layout` refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.limits import DEFLATE_MOST
from .encoding import DEFLATED
from .pixel_items import frame_counts, items
from .source_file import open_source

if TYPE_CHECKING:
    from .header import Header

PAD = (0, 1)  # bytes more than the pixels need: a value has an even number of bytes, and one pad byte makes it even
_ITEM_BITS = 64  # of an item's tag and length, the least that a compressed frame takes
_SPARE_FRAMES = 1000  # a claim of so many more frames costs no memory, and is refused by name


def count_frames(header: Header) -> int:
    """Count the frames of an instance: by functional groups, else by Number of Frames, unless its bytes contradict that.

    Never far more than its bytes can hold. Where the three cannot be reconciled, `layout_of` refuses.
    """
    declared, groups = declared_frames(header), len(header.frames)
    count = groups or declared or 1
    if groups and declared and groups != declared and not _fits(header, groups) and _fits(header, declared):
        count = declared
    return min(count, _most_frames(header))


def _most_frames(header: Header) -> int:
    """A count that no file of this size can exceed, so that a claim alone costs no memory."""
    size = header.size * DEFLATE_MOST if header.transfer_syntax == DEFLATED else header.size
    per_frame = frame_bits(header) if has_fixed_size(header) else _ITEM_BITS
    return int(_SPARE_FRAMES + 2 * size * 8 // per_frame)


def frame_bits(header: Header) -> int:
    """Compute the bits of one frame; 0 where the header does not give its size."""
    numbers = [
        whole_number(header, k, d)
        for k, d in (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 0))
    ]
    rows, columns, samples, bits = numbers
    total = rows * columns * samples * bits
    return total * 2 // 3 if header.get("PhotometricInterpretation") == "YBR_FULL_422" else total


def _fits(header: Header, count: int) -> bool:
    """Whether the bytes are those of so many frames, as far as that shows without inflating the file."""
    if not has_fixed_size(header):
        return count in set(frame_counts(header))
    if header.pixel_offset is None:
        return True
    needed = whole_bytes(count * frame_bits(header))
    if header.pixel_length is not None and header.pixel_length - needed in PAD:
        return True
    with open_source(header.path) as file:
        fragments = items(file, header) or []
    return any(sum(n for _, n in part) - needed in PAD for part in (fragments, fragments[1:]) if part)


def has_fixed_size(header: Header) -> bool:
    """Whether the number of bytes follows from that of pixels: native, deflated or not."""
    return (header.native or header.transfer_syntax == DEFLATED) and frame_bits(header) > 0


def declared_frames(header: Header) -> int | None:
    """Get Number of Frames; None where it is missing, empty, 0 or no number."""
    value = header.get("NumberOfFrames")
    return int(value) if isinstance(value, int) and value > 0 else None


def whole_number(header: Header, keyword: str, default: int) -> int:
    """Get a whole number of the header.

    Args:
        header: of the instance.
        keyword: of the attribute.
        default: where the attribute is absent.

    Returns:
        The number; 0 where the attribute holds anything else.
    """
    value = header.get(keyword, default)
    return value if isinstance(value, int) else 0


def whole_bytes(bits: int) -> int:
    """Compute how many bytes so many bits take."""
    return -(-bits // 8)
