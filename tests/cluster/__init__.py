"""Three hosts on one PostgreSQL and one SeaweedFS, and everything that can break there."""
