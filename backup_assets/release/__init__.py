"""A backup that a release relies on."""
