"""Import every table: foreign keys name tables of other files, and SQLAlchemy resolves them only once all are known."""

from shared.database.tables import base, datasets, files, jobs, registry

__all__ = ["base", "datasets", "files", "jobs", "registry"]
