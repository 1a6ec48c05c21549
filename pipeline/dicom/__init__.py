"""Read DICOM as it is found: folders, headers, frames with their planes, and stored pixels."""
