"""What the tests build on and is no test: series of known truth, peers, the sample cases, and the programs of the Makefile."""
