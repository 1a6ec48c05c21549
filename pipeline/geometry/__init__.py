"""Planes, grids and the maps between them; no file and no DICOM."""
