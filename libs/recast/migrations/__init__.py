"""The tables of a service: Alembic migrations, and moving a database from SQLite to PostgreSQL."""

from recast.migrations.migrate import migrate, run_environment

__all__ = ["migrate", "run_environment"]
