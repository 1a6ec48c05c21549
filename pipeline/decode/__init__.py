"""One module a representation of a mask, the same two names each: accepts(series) and decode(series, ...)."""
