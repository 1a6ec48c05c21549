"""Arrays for Python: read DICOM into proven arrays, find the affine of a buffer, write arrays as proven NIfTI files."""
