"""Read masks as others do: SEG by highdicom and dcmqi, contours by Shapely, overlays and exports by GDCM, each a process."""
