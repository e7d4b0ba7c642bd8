"""Store large inline data in a file of the artifact store, so that lists of jobs and versions stay small."""

from pathlib import Path

from shared.errors import Fault, InvalidRequest
from shared.spec.dataset import DatasetSpec, InlineData, StoredInlineData
from shared.storage.artifacts import ArtifactStore, StoredFile

MAX_INLINE_BYTES = 2**20
"""The most bytes of inline data, as JSON."""
MAX_BYTES_IN_SPEC = 2**16
"""Inline data of more bytes are stored in a file."""
FILE = "inline.json"


def write_inline(spec: DatasetSpec, folder: Path) -> list[Path]:
    """Write the inline data of a spec to a file in `folder` if they have more than MAX_BYTES_IN_SPEC.

    Returns the path of the file, or no path for less data and for other data sets. Raises InvalidRequest above
    MAX_INLINE_BYTES, and OSError.
    """
    if not isinstance(spec.inline, InlineData):
        return []
    content = spec.inline.model_dump_json().encode()
    if len(content) > MAX_INLINE_BYTES:
        detail = f"The data have {len(content):,} bytes; the limit is {MAX_INLINE_BYTES:,}. Upload them as a data set."
        raise InvalidRequest("The request is invalid.", (Fault("#/dataset/inline", detail),))
    if len(content) <= MAX_BYTES_IN_SPEC:
        return []
    path = folder / FILE
    path.write_bytes(content)
    return [path]


def replace_inline(spec: DatasetSpec, file: StoredFile) -> DatasetSpec:
    """Return the spec with the digest of the stored file in place of its inline data."""
    return spec.model_copy(update={"inline": StoredInlineData(sha256=file.sha256)})


def read_stored_inline(spec: DatasetSpec, artifacts: ArtifactStore) -> DatasetSpec:
    """Return the spec with its stored inline data; all other specs unchanged. Raises ArtifactDamaged."""
    if not isinstance(spec.inline, StoredInlineData):
        return spec
    content = artifacts.read(spec.inline.sha256)
    return spec.model_copy(update={"inline": InlineData.model_validate_json(content)})
