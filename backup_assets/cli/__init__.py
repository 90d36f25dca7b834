"""The backup-assets command."""
