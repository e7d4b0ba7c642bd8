"""Import all tables, so that SQLAlchemy can resolve the foreign keys between files."""

from shared.database.tables import access, base, datasets, files, jobs, registry

__all__ = ["access", "base", "datasets", "files", "jobs", "registry"]
