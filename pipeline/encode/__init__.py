"""Write masks as DICOM: a series of label images, or a SEG."""
