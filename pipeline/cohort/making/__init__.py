"""Make one case: convert its images and masks, and write its files below a folder of its own."""
