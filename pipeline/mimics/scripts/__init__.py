"""What runs inside Mimics: one file each, copied there by hand."""
