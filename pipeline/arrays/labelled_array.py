"""Define what is read into memory: an array of labels or values, with its affine and its proof."""


class Image:
    """Values on a grid."""


class Mask:
    """Labels on a grid."""
