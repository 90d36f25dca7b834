"""Off-site: encryption of what leaves the host."""
