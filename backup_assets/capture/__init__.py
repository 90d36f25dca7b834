"""From a source to a committed local set."""
