"""Everything that speaks to PostgreSQL: client programs, sessions, clusters."""
