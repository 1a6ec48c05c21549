"""DICOM SEG: frames, segments and their place."""
