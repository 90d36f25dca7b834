"""The pure domain: sets, manifests, records, the catalog."""
