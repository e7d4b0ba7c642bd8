"""Test networks that begin with uploaded weights."""

import io
import zipfile
from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.files import TrackedFile
from shared.storage import tracked_files
from tests.support.examples import XOR, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
X = XOR["dataset"]["inline"]["x"]


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickle calls."""
        return (print, ("attacked",))


def make_model() -> keras.Model:
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(12, activation="tanh"), keras.layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((2,)), *layers])


def pack(arrays: list[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()


def upload(http: FlaskClient, content: bytes) -> Any:
    return http.post("/api/v1/weights", data={"file": (io.BytesIO(content), "weights.npz")})


def make_spec(weights: str, epochs: int = 0) -> Json:
    layers = [
        {"layer": "Dense", "units": 12, "activation": "tanh"},
        {"layer": "Dense", "units": 1, "activation": "sigmoid"},
    ]
    return changed(changed(XOR, "network", {"layers": layers, "weights": weights}), "training.epochs", epochs)


def test_the_version_answers_as_the_model_of_the_sender(http: FlaskClient, worker: InProcessWorker) -> None:
    model = make_model()
    answer = upload(http, pack(model.get_weights()))
    spec = make_spec(answer.json["weights"])
    train(http, worker, spec)

    served = http.post("/v1/models/xor:predict", json={"instances": X}).json["predictions"]

    assert answer.status_code == 201
    assert [array["shape"] for array in answer.json["arrays"]] == [[2, 12], [12], [12, 1], [1]]
    assert http.get(answer.headers["Location"]).json == answer.json
    np.testing.assert_allclose(served, model(np.asarray(X, np.float32)).numpy(), atol=1e-6)


@on_sqlite
def test_arrays_count_in_the_order_of_their_numbers(http: FlaskClient) -> None:
    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2) for _ in range(6)), keras.layers.Dense(1)])
    arrays = upload(http, pack(model.get_weights()))

    assert [array["name"] for array in arrays.json["arrays"]][-3:] == ["arr_11", "arr_12", "arr_13"]


@on_sqlite
def test_weights_are_kept_while_a_job_names_them(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    weights = upload(http, pack(make_model().get_weights())).json["weights"]
    job = train(http, worker, make_spec(weights))
    unused = upload(http, pack([np.zeros(3, np.float32)])).json["weights"]
    with sessions.begin() as session:
        session.execute(update(TrackedFile).values(touched_at=now(-7200)))
    tracked_files.collect_garbage(sessions, worker.context.artifacts, 3600)

    assert http.get(f"/api/v1/weights/{weights}").status_code == 200
    assert_problem(http.get(f"/api/v1/weights/{unused}"), 404, "file-not-found")
    refused = http.post("/api/v1/jobs", json=make_spec(unused))
    assert_problem(refused, 422, "invalid-request")
    assert refused.json["errors"][0]["pointer"] == "#/network/weights"
    http.delete("/api/v1/models/xor/versions/1")
    assert http.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert_problem(http.get(f"/api/v1/weights/{weights}"), 404, "file-not-found")


@on_sqlite
def test_a_training_goes_on_from_them(http: FlaskClient, worker: InProcessWorker) -> None:
    model = make_model()
    weights = upload(http, pack(model.get_weights())).json["weights"]
    spec = changed(make_spec(weights, 1), "training.optimizer", {"name": "SGD", "learning_rate": 1e-7})
    train(http, worker, spec)

    kernel, _ = http.get("/api/v1/models/xor/versions/1/layers/dense/weights").json["arrays"]
    np.testing.assert_allclose(kernel["values"], model.get_weights()[0], atol=1e-5)


@on_sqlite
@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ([np.zeros((2, 12))], "The file has 1 arrays, and the network has 4 weights: "),
        ([np.zeros((12, 2)), np.zeros(12), np.zeros((12, 1)), np.zeros(1)], "Array 0 has the shape [12, 2]"),
    ],
)
def test_arrays_of_other_shapes_are_refused(http: FlaskClient, arrays: list[Any], found: str) -> None:
    refused = http.post("/api/v1/jobs?dry_run=true", json=make_spec(upload(http, pack(arrays)).json["weights"]))

    assert_problem(refused, 422, "invalid-request")
    assert refused.json["errors"][0]["pointer"] == "#/network/weights"
    assert found in refused.json["errors"][0]["detail"]


@on_sqlite
def test_values_that_are_not_finite_fail_the_job(http: FlaskClient, worker: InProcessWorker) -> None:
    arrays = make_model().get_weights()
    arrays[1][3] = np.nan
    answer = http.post("/api/v1/jobs", json=make_spec(upload(http, pack(arrays)).json["weights"]))
    worker.run_all()

    error = http.get(answer.headers["Location"]).json["error"]
    assert error["type"] == "/problems/network-does-not-fit"
    assert "'arr_1' has a value that is not finite" in error["detail"]


def make_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("arr_0.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
        member.write(bytes(10**7))
    return buffer.getvalue()


def make_npy(header: str, body: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """Return a member whose header is the given text."""
    text = header.encode().ljust(118 - len(version)) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body


def make_zip(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def make_member(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values, np.float32))
    return buffer.getvalue()


@on_sqlite
def test_members_are_read_by_their_own_names(http: FlaskClient, worker: InProcessWorker) -> None:
    model = make_model()
    names = ("a.npy.npy", "a.npy", "b.npy", "c")
    members = zip(names, map(make_member, model.get_weights()), strict=True)
    train(http, worker, make_spec(upload(http, make_zip(*members)).json["weights"]))

    served = http.post("/v1/models/xor:predict", json={"instances": X}).json["predictions"]
    np.testing.assert_allclose(served, model(np.asarray(X, np.float32)).numpy(), atol=1e-6)


@on_sqlite
@pytest.mark.parametrize(
    "member",
    [
        make_npy("{'descr': (), 'fortran_order': False, 'shape': (3,)}", bytes(12)),
        make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), []: 2}", bytes(12)),
        make_npy("{1: 2, 'a': 3}"),
        make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -3)}", bytes(12)),
        make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", bytes(12), b"\x09\0"),
        make_npy("("),
    ],
)
def test_members_with_hostile_headers_are_refused(http: FlaskClient, member: bytes) -> None:
    refused = upload(http, make_zip(("arr_0.npy", member)))

    assert_problem(refused, 422, "invalid-request")
    assert "'arr_0'" in refused.json["errors"][0]["detail"]


@on_sqlite
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"not a zip", "The file is not an .npz"),
        (pack([np.asarray([Attack()], dtype=object)]), "has the dtype object"),
        (pack([np.asarray(["a"])]), "has the dtype"),
        (pack([np.arange(3)]), "has the dtype int64"),
        (pack([]), "The file has 0 arrays"),
        (make_bomb(), "does not have the size that its header says"),
        (pack([np.zeros(3)])[:-40], "The file is not an .npz"),
    ],
)
def test_hostile_files_are_refused(
    http: FlaskClient, content: bytes, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = upload(http, content)

    assert_problem(refused, 422, "invalid-request")
    assert refused.json["errors"][0]["pointer"] == "#/file"
    assert found in refused.json["errors"][0]["detail"]
    assert "attacked" not in capsys.readouterr().out


@on_sqlite
def test_one_kind_of_weights_is_given(http: FlaskClient) -> None:
    digest = f"sha256:{'0' * 64}"
    for network in (
        {"from": "a", "weights": digest},
        {"layers": [{"layer": "Dense", "units": 1}], "weights": digest, "initial_weights": [[[1], [1]], [0]]},
        {"layers": [{"layer": "Dense", "units": 1}], "weights": "zork"},
    ):
        assert_problem(http.post("/api/v1/jobs", json=changed(XOR, "network", network)), 422, "invalid-request")
    assert_problem(http.get("/api/v1/weights/zork"), 404, "file-not-found")
    assert_problem(http.post("/api/v1/weights", json={}), 415, "unsupported-content")
