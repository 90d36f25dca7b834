"""The way back: scratch server, verification, guarded restore."""
