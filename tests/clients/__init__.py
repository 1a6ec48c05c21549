"""What other viewers make of our files: run by `make clients`, which is heavy and no part of `make test`."""
