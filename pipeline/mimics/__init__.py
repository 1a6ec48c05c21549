"""The bridge to Mimics: two scripts that run inside it, and the folders ("bundles") they write and read."""
