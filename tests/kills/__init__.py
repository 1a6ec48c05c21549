"""Kill every command that writes at moments of all kinds, and look at what stays and what the next run makes of it."""
