"""Read masks that are inside of images: burned in, cut out, in colour, in overlay planes, as labels."""
