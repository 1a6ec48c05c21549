"""Masks back into DICOM: a series of label images, or a SEG."""
