"""Keeping what is wanted of every store, and deleting the rest."""
