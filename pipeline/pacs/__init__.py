"""Fetch from an archive (PACS) and send back to it, by DICOMweb and by DIMSE."""
