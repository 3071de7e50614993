"""Sessions in PostgreSQL: install ``sessionlog[postgres]``."""

from .store import PostgresStore

__all__ = ["PostgresStore"]
