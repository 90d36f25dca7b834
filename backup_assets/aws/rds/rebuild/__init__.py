"""Sets of slots that were missed, from what RDS can restore as of their own time."""
