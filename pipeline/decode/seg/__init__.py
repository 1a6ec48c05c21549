"""Decode DICOM SEG: its segments, and the frames placed on a grid."""
