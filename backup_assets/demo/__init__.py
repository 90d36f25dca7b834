"""The embedded default: a PostgreSQL server with a believable ERP."""
