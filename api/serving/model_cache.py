"""Find versions by name, load each once, and keep the recently used ones in memory."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.registry import Version
from shared.errors import ArtifactDamaged, ModelNotFound, ServiceError, VersionNotFound, VersionNotServable
from shared.inference.servable import InferenceStatistics, Servable, load_servable
from shared.registry import versions
from shared.storage.artifacts import ArtifactStore
from shared.system import trim_heap

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""After this time, a name is looked up in the database again. A moved alias is noticed within this time."""
RETRY_SECONDS = 5.0
"""After a version could not be loaded, the next attempt is made no earlier than this."""
MAX_NAMES = 10_000
"""At this number of resolved names, all are forgotten and looked up again."""

Name = tuple[str, str | None]
"""A model, and a version number, `latest` or an alias; None for the version that the model serves."""


@dataclass(frozen=True)
class _Resolved:
    """The version that a name stands for, valid until `until` on the monotonic clock."""

    version_id: int
    until: float


@dataclass(frozen=True)
class _Failure:
    """A failed load.

    Attributes:
        name: the version, as `model/number`.
        error: why it could not be loaded.
        until: time on the monotonic clock. Earlier requests get the same error without another load.
    """

    name: str
    error: ServiceError
    until: float


class ModelCache:
    """The versions in memory, which several threads can use.

    The database is asked about a name at most once in `refresh_seconds`. While it is unreachable, the versions in
    memory are still served.

    Args:
        budget_bytes: above this size, the least recently used versions are evicted, but not the one just loaded.
        refresh_seconds: time after which a name is looked up again.
        retry_seconds: time after which a failed load is repeated.
        load: reads a version from the artifact store, and tests it.
    """

    def __init__(
        self,
        sessions: Sessions,
        artifacts: ArtifactStore,
        budget_bytes: int,
        refresh_seconds: float = REFRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        load: Callable[[Version, ArtifactStore], Servable] = load_servable,
    ) -> None:
        self._sessions = sessions
        self._artifacts = artifacts
        self._budget_bytes = budget_bytes
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = retry_seconds
        self._load_servable = load
        self._resolved: dict[Name, _Resolved] = {}
        self._servables: dict[int, Servable] = {}
        self._failures: dict[int, _Failure] = {}
        self._unloaded: frozenset[int] = frozenset()
        self._statistics: dict[int, InferenceStatistics] = {}  # they stay when a version leaves the memory
        # Held to change `_servables` and `_failures`. Readers need no lock: `_servables` is replaced, never modified.
        self._changing = threading.Lock()
        self._refresh_locks: dict[Name, threading.Lock] = {}  # one for each name, see `_refresh`
        self._loading: dict[int, threading.Lock] = {}  # one for each version, so that it is loaded only once
        # Loading takes several times the memory that a version keeps, so the number of parallel loads is limited.
        self._loaders = threading.BoundedSemaphore(os.cpu_count() or 1)

    def get(self, model: str, reference: str | None = None) -> Servable:
        """Return a version, after loading it if it is not in memory.

        `reference` is a version number, `latest` or an alias; None for the version that the model serves.

        Raises ModelNotFound, VersionNotFound, ArtifactDamaged or VersionNotServable, and an error of DATABASE_ERRORS
        if the database is unreachable and the version is not in memory.
        """
        if (servable := self.find_cached(model, reference)) is not None:
            return servable
        found = self._resolved.get((model, reference))
        servable = self._refresh(
            (model, reference), self._servables.get(found.version_id) if found is not None else None
        )
        servable.last_used_at = time.monotonic()
        return servable

    def find_cached(self, model: str, reference: str | None = None) -> Servable | None:
        """Return a version as `get` does; None if it must be looked up or loaded first."""
        found = self._resolved.get((model, reference))
        now = time.monotonic()
        if found is None or now > found.until or (servable := self._servables.get(found.version_id)) is None:
            return None
        servable.last_used_at = now
        return servable

    def get_or_load(self, version: Version) -> Servable:
        """Return this version, after loading it if it is not in memory.

        Threads that request the same version at the same time wait for one load. After a failed load, the same error is
        raised for `retry_seconds`. Raises ArtifactDamaged or VersionNotServable.
        """
        with self._loading.setdefault(version.id, threading.Lock()):
            if (servable := self._servables.get(version.id)) is not None:
                if servable.number != version.number:
                    servable.rename(version)
                return servable
            failure = self._failures.get(version.id)
            if failure is not None and time.monotonic() < failure.until:
                raise type(failure.error)(failure.error.detail)
            try:
                with self._loaders:
                    servable = self._load_servable(version, self._artifacts)
            except (ArtifactDamaged, VersionNotServable) as error:
                self._remember_failure(version, error)
                raise
            self._insert(version.id, servable)
            return servable

    def invalidate(self, model: str) -> None:
        """Look up the names of a model again at their next request, because this process has moved an alias."""
        for name, found in list(self._resolved.items()):
            if name[0] == model:
                self._resolved[name] = replace(found, until=0.0)

    def list_loaded(self) -> list[Servable]:
        """List the versions in memory, ordered by model and number."""
        return sorted(
            self._servables.values(), key=lambda servable: (servable.model, servable.number or 0, servable.name)
        )

    def unload(self, model: str, version_id: int) -> None:
        """Remove the versions of a model from memory. The next prediction loads the version again.

        `version_id` is the version that it serves, which is also marked as unloaded if it is not in memory.
        """
        with self._changing:
            removed = {key for key, servable in self._servables.items() if servable.model == model}
            self._servables = {key: servable for key, servable in self._servables.items() if key not in removed}
            self._unloaded |= removed | {version_id}

    def is_unloaded(self, version_id: int) -> bool:
        """Return whether a version was removed by `unload`, and has not been loaded since."""
        return version_id in self._unloaded

    def get_statistics(self, version_id: int) -> InferenceStatistics:
        """Return the counts of a version since the start of this process; zeros if it was never loaded."""
        return self._statistics.get(version_id) or InferenceStatistics()

    def evict(self, version: Version) -> None:
        """Remove a version that this process has deleted, so that the next request for it fails."""
        with self._changing:
            self._servables = {key: servable for key, servable in self._servables.items() if key != version.id}
            self._failures.pop(version.id, None)
            self._statistics.pop(version.id, None)
            self._unloaded -= {version.id}
        self.invalidate(version.model)

    def list_failures(self) -> list[str]:
        """List the versions that could not be loaded, each as `model/number: reason`."""
        return [f"{failure.name}: {failure.error.detail}" for failure in list(self._failures.values())]

    def get_failure(self, version_id: int) -> str | None:
        """Return why a version could not be loaded; None if it has not failed."""
        failure = self._failures.get(version_id)
        return failure.error.detail if failure is not None else None

    def count_loaded(self) -> tuple[int, int]:
        """Return the number of versions in memory and their total size in bytes."""
        versions = list(self._servables.values())
        return len(versions), sum(version.size_bytes for version in versions)

    def _refresh(self, name: Name, current: Servable | None) -> Servable:
        """Look up a name in the database and load its version if it is not in memory.

        `usual` is the version that the name stood for so far, if it is in memory. It is returned while another thread
        refreshes the name, and if the database is unreachable. If it is None, this thread waits or raises instead.
        """
        # One lock for each name, so that
        # - only one thread asks the database when the time of a name has expired, instead of every request,
        # - the other threads are not blocked while a new version is loaded: they fail to acquire it and use `usual`,
        # - a slow load under one name does not delay the requests for others, as one lock for all names would.
        looking = self._refresh_locks.setdefault(name, threading.Lock())
        if not looking.acquire(blocking=current is None):
            assert current is not None  # noqa: S101 - without it, `acquire` blocks
            return current
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
            if current is None:
                raise
            logger.warning("the database was unreachable, version %s was served from memory: %s", current.name, error)
            servable, version_id = current, self._resolved[name].version_id
        except (ModelNotFound, VersionNotFound):
            self._refresh_locks.pop(name, None)  # names that clients invent must not accumulate
            raise
        finally:
            looking.release()
        if len(self._resolved) >= MAX_NAMES:
            self._resolved.clear()
        self._resolved[name] = _Resolved(version_id, time.monotonic() + self._refresh_seconds)
        return servable

    def _insert(self, version_id: int, servable: Servable) -> None:
        """Add a version, and keep the most recently used of the others that fit into the budget."""
        with self._changing:
            self._failures.pop(version_id, None)
            self._unloaded -= {version_id}
            if len(self._statistics) >= MAX_NAMES:
                self._statistics.clear()
            servable.statistics = self._statistics.setdefault(version_id, servable.statistics)
            kept, size = {version_id: servable}, servable.size_bytes
            for key, version in sorted(self._servables.items(), key=lambda entry: entry[1].last_used_at, reverse=True):
                if size + version.size_bytes <= self._budget_bytes:
                    kept[key] = version
                    size += version.size_bytes
            self._servables = kept
        trim_heap()  # loading has freed several times the memory that a version keeps
        logger.info("version %s loaded, %d in memory", servable.name, len(kept))

    def _remember_failure(self, version: Version, error: ServiceError) -> None:
        logger.error("version %s/%s could not be loaded: %s", version.model, version.reference, error.detail)
        failure = _Failure(f"{version.model}/{version.reference}", error, time.monotonic() + self._retry_seconds)
        with self._changing:
            self._failures[version.id] = failure
