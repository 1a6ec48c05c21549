"""Name the files of a data set, and write what stands beside them: one module a layout."""
