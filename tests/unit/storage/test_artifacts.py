import uuid
from pathlib import Path

import pytest

from shared.errors import ArtifactDamaged
from shared.storage.artifacts import ArtifactStore


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/with space" if request.param == "file" else f"memory://{uuid.uuid4()}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    return path


def test_a_stored_file_is_read_by_its_digest(url: str, file: Path) -> None:
    stored = ArtifactStore(url).put(file)

    assert (stored.name, stored.size_bytes) == ("model.onnx", 7)
    assert ArtifactStore(url).read(stored.sha256) == b"weights"


def test_storing_the_same_content_twice_returns_the_same_artifact(url: str, file: Path) -> None:
    store = ArtifactStore(url)

    assert store.put(file) == store.put(file)


def test_a_missing_file_is_reported_as_missing(url: str) -> None:
    with pytest.raises(ArtifactDamaged, match="missing"):
        ArtifactStore(url).read("0" * 64)


def test_a_changed_file_is_not_returned(file: Path, tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/store")
    stored = store.put(file)
    (tmp_path / "store" / stored.sha256[:2] / stored.sha256).write_bytes(b"other")

    with pytest.raises(ArtifactDamaged, match="damaged"):
        store.read(stored.sha256)


def test_storing_a_file_again_repairs_a_damaged_one(file: Path, tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/store")
    stored = store.put(file)
    (tmp_path / "store" / stored.sha256[:2] / stored.sha256).write_bytes(b"other")

    store.put(file)

    assert store.read(stored.sha256) == b"weights"


def test_no_partial_file_is_left_after_storing(file: Path, tmp_path: Path) -> None:
    stored = ArtifactStore(f"file://{tmp_path}/store").put(file)

    assert [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()] == [stored.sha256]


def test_check_fails_if_the_store_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")

    with pytest.raises(OSError, match="exists"):
        ArtifactStore(f"file://{tmp_path}/store").check()
