"""Keep the scripts that run inside Mimics: one file each, copied there by hand."""
