"""What is right or wrong about files that are there: compared, diagnosed, explained."""
