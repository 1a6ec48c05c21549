"""Hold what every room needs: findings, the policy, workers, and files that appear whole."""
