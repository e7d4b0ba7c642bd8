"""The versions in memory: each loaded once, on first use; the one unused for longest makes room."""

import threading
from collections import OrderedDict

from api.serving.version import LoadedVersion, load_version
from shared.artifacts import ArtifactStore
from shared.tables import Version

MAX_VERSIONS = 16


class Shelf:
    """Safe for threads: two that ask for the same version wait for one loading."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._versions: OrderedDict[int, LoadedVersion] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, version: Version) -> LoadedVersion:
        """Raises ArtifactDamaged or VersionNotServable."""
        with self._lock:
            loaded = self._versions.get(version.id)
            if loaded is None:
                loaded = self._versions[version.id] = load_version(version, self._artifacts)
            self._versions.move_to_end(version.id)
            while len(self._versions) > MAX_VERSIONS:
                self._versions.popitem(last=False)
            return loaded
