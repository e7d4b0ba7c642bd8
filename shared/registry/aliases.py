"""Read and write the aliases of versions."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables.registry import Alias
from shared.errors import AliasNotFound
from shared.registry.versions import get_version


def list_aliases(session: Session, model: str) -> dict[str, int]:
    """Return the version number of each alias of the model, ordered by alias."""
    query = select(Alias).where(Alias.model == model).order_by(Alias.alias)
    return {alias.alias: alias.number for alias in session.scalars(query)}


def set_alias(session: Session, model: str, alias: str, number: int) -> Alias:
    """Create the alias, or move it if it exists. Raises ModelNotFound or VersionNotFound."""
    get_version(session, model, str(number))
    return session.merge(Alias(model=model, alias=alias, number=number))


def delete_alias(session: Session, model: str, alias: str) -> None:
    """Delete the alias, not its version. Raises AliasNotFound."""
    found = session.get(Alias, (model, alias))
    if found is None:
        raise AliasNotFound(f"Model {model!r} has no alias {alias!r}. GET /api/v1/models/<model> shows its aliases.")
    session.delete(found)
