"""Load the network of a version by our own reader."""

from pathlib import Path

import keras

from shared.database.tables.registry import Version
from shared.networks.builder import build_network
from shared.registry import versions
from shared.registry.manifest import ManifestFile
from shared.spec.network import NetworkSpec
from shared.storage.artifacts import ArtifactStore

WEIGHTS_FILE = "model.weights.h5"


def load_network(version: Version, manifest: ManifestFile, artifacts: ArtifactStore, folder: Path) -> keras.Model:
    """Build the network of a version, and load its weights through `folder`. Raises FileNotFound or ArtifactDamaged."""
    plain = NetworkSpec.model_construct(layers=None, keras=manifest.architecture, from_=None, freeze=())
    network = build_network(plain, manifest.preprocessing.input_shape, manifest.model)
    path = folder / WEIGHTS_FILE
    path.write_bytes(artifacts.read(versions.get_file(version, WEIGHTS_FILE).sha256))
    network.load_weights(path)
    return network
