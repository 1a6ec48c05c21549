"""Name subjects and sessions without identifiers, and read the table that settles them."""
