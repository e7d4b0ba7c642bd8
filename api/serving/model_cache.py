"""The versions in memory: found by name, loaded once, and let go when others need the room."""

import logging
import os
import threading
import time
from dataclasses import dataclass, replace

from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.registry import Version
from shared.errors import ArtifactDamaged, ModelNotFound, ServiceError, VersionNotFound, VersionNotServable
from shared.inference.servable import Servable, load_servable
from shared.registry import versions
from shared.storage.artifacts import ArtifactStore
from shared.system import trim_heap

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""So late is it noticed that an alias was moved."""
RETRY_SECONDS = 5.0
"""After a version could not be loaded."""
MAX_NAMES = 10_000

Name = tuple[str, str | None]


@dataclass(frozen=True)
class _Resolved:
    version_id: int
    until: float


@dataclass(frozen=True)
class _Failure:
    name: str
    error: ServiceError
    until: float


class ModelCache:
    """Safe for threads. The database is asked about a name once a second at the most, and never while it is away."""

    def __init__(
        self,
        sessions: Sessions,
        artifacts: ArtifactStore,
        budget_bytes: int,
        refresh_seconds: float = REFRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._sessions = sessions
        self._artifacts = artifacts
        self._budget_bytes = budget_bytes
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = retry_seconds
        self._found: dict[Name, _Resolved] = {}
        self._servables: dict[int, Servable] = {}
        self._failures: dict[int, _Failure] = {}
        self._changing = threading.Lock()
        self._looking: dict[Name, threading.Lock] = {}
        self._loading: dict[int, threading.Lock] = {}
        self._loaders = threading.BoundedSemaphore(os.cpu_count() or 1)

    def get(self, model: str, reference: str | None = None) -> Servable:
        """`reference` is a number, `latest` or an alias; None for the version that is served.

        Raises ModelNotFound, VersionNotFound, ArtifactDamaged or VersionNotServable.
        """
        if (servable := self.find_cached(model, reference)) is not None:
            return servable
        found = self._found.get((model, reference))
        servable = self._refresh(
            (model, reference), self._servables.get(found.version_id) if found is not None else None
        )
        servable.last_used_at = time.monotonic()
        return servable

    def find_cached(self, model: str, reference: str | None = None) -> Servable | None:
        """The same, where nothing need be looked up or loaded; None otherwise."""
        found = self._found.get((model, reference))
        now = time.monotonic()
        if found is None or now > found.until or (servable := self._servables.get(found.version_id)) is None:
            return None
        servable.last_used_at = now
        return servable

    def get_or_load(self, version: Version) -> Servable:
        """Two that ask for the same wait for one loading. Raises ArtifactDamaged or VersionNotServable."""
        with self._loading.setdefault(version.id, threading.Lock()):
            if (servable := self._servables.get(version.id)) is not None:
                return servable
            failure = self._failures.get(version.id)
            if failure is not None and time.monotonic() < failure.until:
                raise type(failure.error)(failure.error.detail)
            try:
                with self._loaders:
                    servable = load_servable(version, self._artifacts)
            except (ArtifactDamaged, VersionNotServable) as error:
                self._remember_failure(version, error)
                raise
            self._insert(version.id, servable)
            return servable

    def invalidate(self, model: str) -> None:
        """An alias was moved here: whoever asks next need not wait a second to see it."""
        for name, found in list(self._found.items()):
            if name[0] == model:
                self._found[name] = replace(found, until=0.0)

    def list_loaded(self) -> list[Servable]:
        return sorted(self._servables.values(), key=lambda servable: (servable.model, servable.number))

    def unload(self, model: str) -> None:
        """Whoever asks for one of its versions loads it again."""
        with self._changing:
            self._servables = {key: servable for key, servable in self._servables.items() if servable.model != model}

    def evict(self, version: Version) -> None:
        """It was deleted here: whoever asks next is told so."""
        with self._changing:
            self._servables = {key: servable for key, servable in self._servables.items() if key != version.id}
            self._failures.pop(version.id, None)
        self.invalidate(version.model)

    def list_failures(self) -> list[str]:
        """Of the versions that could not be loaded, each with the reason."""
        return [f"{failure.name}: {failure.error.detail}" for failure in list(self._failures.values())]

    def get_failure(self, version_id: int) -> str | None:
        """Why a version could not be loaded, if it could not."""
        failure = self._failures.get(version_id)
        return failure.error.detail if failure is not None else None

    def count_loaded(self) -> tuple[int, int]:
        """How many there are, and of how many bytes."""
        versions = list(self._servables.values())
        return len(versions), sum(version.size_bytes for version in versions)

    def _refresh(self, name: Name, usual: Servable | None) -> Servable:
        """One asks the database and loads what is new; meanwhile the others go on with what they have."""
        looking = self._looking.setdefault(name, threading.Lock())
        if not looking.acquire(blocking=usual is None):
            assert usual is not None  # noqa: S101 - or it would have waited
            return usual
        try:
            with self._sessions() as session:
                model, reference = name
                version = (
                    versions.get_served_version(session, model)
                    if reference is None
                    else versions.get_version(session, model, reference)
                )
            servable, version_id = self.get_or_load(version), version.id
        except DATABASE_ERRORS as error:
            if usual is None:
                raise
            logger.warning("the database is out of reach, and %s goes on as it was: %s", usual.name, error)
            servable, version_id = usual, self._found[name].version_id
        except (ModelNotFound, VersionNotFound):
            self._looking.pop(name, None)  # or a client could fill the memory with names that it invents
            raise
        finally:
            looking.release()
        if len(self._found) >= MAX_NAMES:
            self._found.clear()
        self._found[name] = _Resolved(version_id, time.monotonic() + self._refresh_seconds)
        return servable

    def _insert(self, version_id: int, servable: Servable) -> None:
        with self._changing:
            self._failures.pop(version_id, None)
            kept, size = {version_id: servable}, servable.size_bytes
            for key, version in sorted(self._servables.items(), key=lambda entry: entry[1].last_used_at, reverse=True):
                if size + version.size_bytes <= self._budget_bytes:
                    kept[key] = version
                    size += version.size_bytes
            self._servables = kept
        trim_heap()  # loading takes several times what is kept
        logger.info("version %s loaded, %d in memory", servable.name, len(kept))

    def _remember_failure(self, version: Version, error: ServiceError) -> None:
        logger.error("version %s/%d cannot be served: %s", version.model, version.number, error.detail)
        failure = _Failure(f"{version.model}/{version.number}", error, time.monotonic() + self._retry_seconds)
        with self._changing:
            self._failures[version.id] = failure
