"""Test that models of other programs become versions, and that nothing in a hostile file is executed or followed."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from api.ingestion.models.model_files import read_model_file
from shared.errors import InvalidRequest
from tests.support.examples import Json
from tests.support.jobs import show_job
from tests.support.problems import assert_problem
from tests.support.uploads import make_upload_limits
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FILES = Path(__file__).with_name("files")
MEANINGS: dict[str, Json] = {
    "mlp": {"classes": "3"},
    "nested": {"task": "regression"},
    "rnn": {"classes": '["no", "yes"]', "kind": "numbers"},
    "functional": {"classes": "2"},
}
STORED = sorted(
    path.name for path in FILES.iterdir() if path.suffix in (".keras", ".h5") and ".weights." not in path.name
)


def post(http: FlaskClient, content: bytes, **fields: Any) -> Any:
    boundary, body = encode_multipart({"file": FileStorage(io.BytesIO(content), "model"), **fields})
    kind = f'multipart/form-data; boundary="{boundary}"'
    return http.post("/api/v1/models/imported/imports", data=body, content_type=kind)


def run(http: FlaskClient, worker: InProcessWorker, content: bytes, **fields: Any) -> Json:
    answer = post(http, content, **fields)
    assert answer.status_code == 202, answer.text
    worker.run_all()
    return show_job(http, answer.json["id"])


def predict(http: FlaskClient, inputs: list[Any]) -> np.ndarray:
    body = {"inputs": [{"name": "input", "shape": list(np.shape(inputs)), "datatype": "FP32", "data": inputs}]}
    output = http.post("/v2/models/imported/infer", json=body).json["outputs"][0]
    return np.asarray(output["data"]).reshape(output["shape"])


def save(model: keras.Model, folder: Path, ending: str) -> bytes:
    path = folder / f"model.{ending}"
    if ending == "weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    return path.read_bytes()


def make_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(5, activation="tanh", name="hidden"), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential([keras.Input((3,)), *layers])


def pack(config: Json, weights: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()


@on_sqlite
@pytest.mark.parametrize("name", STORED)
def test_files_of_earlier_releases_of_keras_answer_as_there(
    http: FlaskClient, worker: InProcessWorker, name: str
) -> None:
    stem, kind = name.rpartition(".")[0], name.rpartition(".")[0].rpartition("-")[2]
    with np.load(FILES / f"{stem}.npz") as known:
        x, y = known["x"].tolist(), known["y"]
    samples = json.dumps({"inputs": x, "outputs": y.tolist()})

    job = run(http, worker, (FILES / name).read_bytes(), samples=samples, **MEANINGS[kind])

    assert (job["status"], job["version"]) == ("succeeded", 1), job["error"]
    assert np.allclose(predict(http, x), y, atol=1e-4)
    assert http.get("/api/v1/models/imported/versions/1/self-test").json["passed"]


@on_sqlite
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_model_of_this_keras_is_imported(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path, ending: str
) -> None:
    model = make_model()
    x = np.random.default_rng(0).random((3, 3)).astype(np.float32)

    job = run(http, worker, save(model, tmp_path, ending), classes='["no", "yes"]', tags='{"from": "me"}')

    assert job["status"] == "succeeded", job
    assert (job["kind"], job["tags"]) == ("import", {"from": "me"})
    assert np.allclose(predict(http, x.tolist()), model.predict(x, verbose=0), atol=1e-5)
    version = http.get("/api/v1/models/imported/versions/1").json
    assert (version["classes"], version["parameters"]) == (["no", "yes"], 32)
    assert list(version["lineage"]["spec"]) == ["imported"]


@on_sqlite
@pytest.mark.parametrize("layout", ["this Keras", "Keras 2"])
def test_weights_alone_need_the_network(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path, layout: str
) -> None:
    if layout == "Keras 2":
        content, network, classes = (FILES / "keras-2.15-mlp.weights.h5").read_bytes(), _describe_mlp(), "3"
    else:
        content, classes = save(make_model(), tmp_path, "weights.h5"), "2"
        network = {
            "layers": [
                {"layer": "Input", "shape": [3]},
                {"layer": "Dense", "units": 5, "activation": "tanh"},
                {"layer": "Dense", "units": 2, "activation": "softmax"},
            ]
        }

    refused = post(http, content, classes=classes)
    shapeless = post(http, content, classes=classes, network='{"layers": [{"layer": "Dense", "units": 2}]}')
    job = run(http, worker, content, classes=classes, network=json.dumps(network))

    assert refused.json["errors"][0]["pointer"] == "#/network"
    assert shapeless.json["errors"][0]["pointer"] == "#/network/layers/0"
    assert job["status"] == "succeeded", job["error"]


def _describe_mlp() -> Json:
    with zipfile.ZipFile(FILES / "keras-2.15-mlp.keras") as archive:
        return {"keras": json.loads(archive.read("config.json"))}


@on_sqlite
def test_samples_that_are_answered_otherwise_fail_the_import(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    content = save(make_model(), tmp_path, "keras")
    wrong = json.dumps({"inputs": [[1, 2, 3]], "outputs": [[0.5, 0.5]]})
    of_other_shape = json.dumps({"inputs": [[1, 2, 3]], "outputs": [0.5]})

    jobs = [run(http, worker, content, classes="2", samples=samples) for samples in (wrong, of_other_shape)]

    assert {job["error"]["type"] for job in jobs} == {"/problems/import-disagrees"}
    assert "For sample 0, [0.5, 0.5] was sent" in jobs[0]["error"]["detail"]
    assert "have the shape [1, 1]" in jobs[1]["error"]["detail"]
    assert http.get("/api/v1/models/imported").status_code == 404


@on_sqlite
@pytest.mark.parametrize(
    ("units", "outputs"), [(3, {"classes": "3"}), (1, {"classes": "2"}), (2, {"labels": '["a", "b"]'})]
)
def test_models_that_end_in_logits_get_their_activation(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path, units: int, outputs: Json
) -> None:
    keras.utils.set_random_seed(5)
    hidden = [keras.layers.Dense(4), keras.layers.Activation("relu", name="activation")]  # a name that Keras gives
    model = keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(units)])
    logits = model.predict(np.array([[1.0, 2.0, 3.0]]), verbose=0)
    activation = keras.activations.softmax if units == 3 else keras.activations.sigmoid
    content = save(model, tmp_path, "keras")
    samples = json.dumps({"inputs": [[1, 2, 3]], "outputs": logits.tolist()})

    job = run(http, worker, content, **outputs, from_logits="true", samples=samples)

    assert job["status"] == "succeeded", job["error"]
    expected = np.asarray(activation(keras.ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(predict(http, [[1.0, 2.0, 3.0]]), expected, atol=1e-6)


@on_sqlite
@pytest.mark.parametrize("name", ["Iris-Mine", "my model", "-a", "a" * 101])
def test_a_name_that_no_model_can_have_is_refused(http: FlaskClient, tmp_path: Path, name: str) -> None:
    form = {"file": (io.BytesIO(save(make_model(), tmp_path, "keras")), "model.keras"), "classes": "2"}

    answer = http.post(f"/api/v1/models/{name}/imports", data=form)

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == "#/model"


@on_sqlite
def test_probabilities_are_no_logits(http: FlaskClient, tmp_path: Path) -> None:
    refused = post(http, save(make_model(), tmp_path, "keras"), classes="2", from_logits="true")
    numbers = post(http, save(make_model(), tmp_path, "keras"), task="regression", from_logits="true")

    assert refused.json["errors"][0]["pointer"] == "#/from_logits"
    assert "The network ends in `softmax`" in refused.text
    assert "numbers have no logits" in numbers.text


@on_sqlite
def test_the_preprocessing_of_the_form_holds(http: FlaskClient, worker: InProcessWorker, tmp_path: Path) -> None:
    model = make_model()
    x = np.array([[10.0, 20.0, 30.0]], np.float32)
    outputs = model.predict((x - 10) / [2, 4, 5], verbose=0)
    fields = {
        "classes": "2",
        "preprocessing": "scale: standardize",
        "scaling": '{"offset": [10], "divisor": [2, 4, 5]}',
    }
    samples = json.dumps({"inputs": x.tolist(), "outputs": outputs.tolist()})

    job = run(http, worker, save(model, tmp_path, "keras"), samples=samples, **fields)

    assert job["status"] == "succeeded", job["error"]
    answer = http.post("/api/v1/models/imported/predictions?top=2", json={"instances": x.tolist()}).json
    assert answer["predictions"][0]["probability"] == pytest.approx(outputs.max(), abs=1e-5)


@on_sqlite
def test_a_model_of_texts_brings_its_vocabulary(http: FlaskClient, worker: InProcessWorker, tmp_path: Path) -> None:
    keras.utils.set_random_seed(4)
    head = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(5, 3, mask_zero=True), *head])
    expected = model.predict(np.array([[0, 0, 1, 3]], np.float32), verbose=0)
    index = json.dumps({"the": 1, "film": 2, "good": 3, "bad": 4})
    samples = json.dumps({"inputs": ["The (very) GOOD!"], "outputs": expected.tolist()})

    job = run(http, worker, save(model, tmp_path, "keras"), classes='["n", "p"]', vocabulary=index, samples=samples)

    assert job["status"] == "succeeded", job["error"]
    found = http.post("/api/v1/text/sequences", json={"version": "imported", "texts": ["bad film"]}).json
    assert found["padded"] == [[0, 0, 4, 2]]
    answer = http.post("/api/v1/models/imported/predictions", json={"instances": ["unknown"]})
    assert "averages over known words" in answer.json["detail"]


@on_sqlite
def test_what_needs_the_data_of_a_training_is_refused(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    run(http, worker, save(make_model(), tmp_path, "keras"), classes="2")
    version = "/api/v1/models/imported/versions/1"

    answers = [
        http.post(f"{version}/reproduction"),
        http.post(f"{version}/baselines"),
        http.post(f"{version}/exports", json={"format": "tflite-int8"}),
    ]
    exported = http.post(f"{version}/exports", json={"format": "h5"})
    tuned: Json = {"model": "tuned", "network": {"from": "imported@1"}, "training": {"epochs": 1}}
    dataset = {"inline": {"x": [[0, 0, 1], [1, 0, 0]], "y": ["a", "b"]}, "validation": {"split": 0}}
    job = http.post("/api/v1/jobs", json={**tuned, "dataset": dataset}).json
    worker.run_all()

    for answer in answers:
        assert_problem(answer, 422, "invalid-request")
        assert "was imported" in answer.json["detail"]
    assert show_job(http, exported.json["id"])["status"] == "succeeded"
    assert show_job(http, job["id"])["status"] == "succeeded"
    for page in (f"/ui/models/imported/versions/1{end}" for end in ("", "/evaluation", "/inside")):
        assert http.get(page).status_code == 200


@on_sqlite
@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "#"),
        ({"classes": "2", "task": "regression"}, "#"),
        ({"classes": "3"}, "#/network/keras"),
        ({"classes": '["a"]'}, "#/classes"),
        ({"classes": '["a", "a"]'}, "#/classes"),
        ({"classes": "2", "kind": "images"}, "#/kind"),
        ({"classes": "2", "vocabulary": '["a"]', "kind": "numbers"}, "#/vocabulary"),
        ({"classes": "2", "kind": "texts"}, "#/vocabulary"),
        ({"classes": "2", "preprocessing": "size: [3, 3]"}, "#/preprocessing/size"),
        ({"classes": "2", "preprocessing": "scale: standardize"}, "#/scaling"),
        ({"classes": "2", "scaling": '{"divisor": [0]}'}, "#/scaling"),
        ({"classes": "2", "samples": '{"inputs": [1], "outputs": []}'}, "#/samples/outputs"),
        ({"classes": "2", "samples": '{"inputs": [1, 2], "outputs": [[0.1, 0.9], [1]]}'}, "#/samples"),
        ({"classes": "2", "samples": '{"inputs": [[1, 2]], "outputs": [[0.1, 0.9]]}'}, "#/samples/inputs/0"),
        ({"classes": "2", "samples": '{"inputs": ["a"], "outputs": [[0.1, 0.9]]}'}, "#/samples/inputs/0"),
        ({"classes": "2", "samples": '{"inputs": [[1, 2, 1e39]], "outputs": [[1, 0]]}'}, "#/samples/inputs/0"),
        ({"classes": "2", "scaling": '{"offset": [1e308]}'}, "#/scaling"),
        ({"classes": "2", "network": '{"from": "a"}'}, "#/network"),
        ({"classes": "2", "colour": "red"}, "#/colour"),
    ],
)
def test_forms_that_do_not_fit_are_refused(http: FlaskClient, tmp_path: Path, fields: Json, pointer: str) -> None:
    answer = post(http, save(make_model(), tmp_path, "keras"), **fields)

    assert_problem(answer, 422, "invalid-request")
    assert any(fault["pointer"].startswith(pointer) for fault in answer.json["errors"]), answer.json


TEXTS = [keras.Input((4,)), keras.layers.Embedding(5, 3), keras.layers.Flatten()]
SIDE = 2000


@on_sqlite
@pytest.mark.parametrize(
    ("layers", "fields", "pointer"),
    [
        pytest.param([keras.Input((10**6, 1)), keras.layers.GlobalAveragePooling1D()], {}, "#/file", id="numbers"),
        pytest.param([keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalMaxPooling2D()], {}, "#/file", id="pixels"),
        pytest.param(
            [keras.Input((20_000,)), keras.layers.Embedding(5, 3), keras.layers.GlobalMaxPooling1D()],
            {"vocabulary": '["a", "b"]'},
            "#/file",
            id="words",
        ),
        pytest.param(
            [keras.Input((8, 8, 3)), keras.layers.Flatten()],
            {"preprocessing": "{color: grayscale}"},
            "#/preprocessing/color",
            id="channels",
        ),
        pytest.param(TEXTS, {"vocabulary": '["a"]'}, "#/vocabulary", id="one word"),
        pytest.param(TEXTS, {"vocabulary": '["a", "B"]'}, "#/vocabulary", id="a capital letter"),
        pytest.param(
            TEXTS,
            {"vocabulary": '["a", "b"]', "preprocessing": "{text: {length: 7}}"},
            "#/preprocessing/text/length",
            id="another length",
        ),
    ],
)
def test_inputs_that_are_not_taken_are_refused(
    http: FlaskClient, tmp_path: Path, layers: list[Any], fields: Json, pointer: str
) -> None:
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])

    answer = post(http, save(model, tmp_path, "keras"), classes="2", **fields)

    assert_problem(answer, 422, "invalid-request")
    assert any(fault["pointer"].startswith(pointer) for fault in answer.json["errors"]), answer.json


@on_sqlite
def test_a_word_index_has_the_unknown_word_and_words_beyond_num_words(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    """`Tokenizer.word_index` is not cut at `num_words`, and `oov_token` has the index 1."""
    model = keras.Sequential([*TEXTS, keras.layers.Dense(2, activation="softmax")])
    index = {"<OOV>": 1, "a": 2, "b": 3, "c": 4, **{f"w{number}": number for number in range(5, 40_000)}}
    fields = {"preprocessing": "{text: {unknown: token, vocabulary: 5}}", "vocabulary": json.dumps(index)}

    job = run(http, worker, save(model, tmp_path, "keras"), classes="2", **fields)

    assert job["status"] == "succeeded", job["error"]
    found = http.post("/api/v1/text/sequences", json={"version": "imported", "texts": ["c b nobody w5 a"]}).json
    assert found["sequences"] == [[4, 3, 1, 1, 2]]


@on_sqlite
def test_too_large_fields_and_fields_that_are_no_yaml_are_named(http: FlaskClient, tmp_path: Path) -> None:
    content = save(make_model(), tmp_path, "keras")

    large = post(http, content, classes="2", notes="x" * (16 * 2**20 + 1))
    unreadable = post(http, content, classes="2", preprocessing="{scale: [}")

    assert_problem(large, 413, "request-too-large")
    assert_problem(unreadable, 400, "malformed-request")
    assert "`preprocessing`" in unreadable.json["detail"]


@on_sqlite
@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('{"class_name": "Sequential", "config": ' + 230 * "[" + 230 * "]" + "}", "nested levels"),
        ('{"class_name": "Sequential", "config": {"layers": [{"units": NaN}]}}', "NaN"),
        ('{"class_name": "Sequential", "config": {"name": "\\ud800"}}', "surrogates"),
    ],
    ids=["deep", "not a number", "half a character"],
)
def test_networks_that_are_no_plain_json_are_refused(http: FlaskClient, tmp_path: Path, text: str, detail: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", save(make_model(), tmp_path, "weights.h5"))

    answer = post(http, buffer.getvalue(), classes="2")

    assert_problem(answer, 422, "invalid-request")
    assert detail in answer.text


def _make_hdf5(write: Callable[[h5py.File, Path], None], folder: Path) -> bytes:
    """Return a file of weights that `write` has changed."""
    path = folder / "hostile.weights.h5"
    path.write_bytes(save(make_model(), folder, "weights.h5"))
    with h5py.File(path, "a") as file:
        write(file, folder)
    return path.read_bytes()


def _link_outside(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as secret:
        secret["values"] = np.ones((3, 5), np.float32)
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink(str(folder / "secret.h5"), "/values")


def _link_inside(file: h5py.File, _: Path) -> None:
    file["layers/again"] = h5py.SoftLink("/layers")


def _store_outside(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(bytes(60))
    del file["layers/dense/vars/0"]
    external = [(str(folder / "secret.bin"), 0, 60)]
    file.create_dataset("layers/dense/vars/0", (3, 5), np.float32, external=external)


def _map_outside(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 5), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "values", (3, 5))
    del file["layers/dense/vars/0"]
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def _compress_unusually(file: h5py.File, _: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((3, 5))
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((3, 5))
    h5py.h5d.create(file["layers/dense/vars"].id, b"7", h5py.h5t.IEEE_F32LE, space, created)


def _store_strings(file: h5py.File, _: Path) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = np.array([b"rm -rf"] * 15).reshape(3, 5)


def _grow(file: h5py.File, _: Path) -> None:
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (10**6, 10**6), np.float32, chunks=(1000, 1000))


@on_sqlite
@pytest.mark.parametrize(
    ("write", "detail"),
    [
        (_link_outside, "Links are never followed"),
        (_link_inside, "Links are never followed"),
        (_store_outside, "Other files are never read"),
        (_map_outside, "Other files are never read"),
        (_compress_unusually, "a filter that is no part of HDF5"),
        (_store_strings, "Weights are float16"),
        (_grow, "the limit is"),
    ],
)
def test_hostile_hdf5_is_refused(
    http: FlaskClient, tmp_path: Path, write: Callable[[h5py.File, Path], None], detail: str
) -> None:
    network = json.dumps({"layers": [{"layer": "Input", "shape": [3]}, {"layer": "Dense", "units": 5}]})

    answer = post(http, _make_hdf5(write, tmp_path), classes="5", network=network)

    assert_problem(answer, 422, "invalid-request")
    assert detail in answer.json["errors"][0]["detail"]


ATTACKS: dict[str, Json] = {
    "lambda": {"class_name": "Lambda", "config": {"name": "x", "function": {"class_name": "__lambda__", "config": {}}}},
    "registered": {"class_name": "Dense", "registered_name": "evil>Dense", "config": {"name": "x", "units": 2}},
    "module": {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/etc/passwd"}},
    "function": {
        "class_name": "Dense",
        "config": {"name": "x", "units": 2, "activation": {"class_name": "function", "config": "os.system"}},
    },
}


@on_sqlite
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("container", ["keras", "h5"])
def test_networks_that_could_run_code_are_refused(
    http: FlaskClient, tmp_path: Path, attack: Json, container: str
) -> None:
    start = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "input"}}
    config = {"class_name": "Sequential", "config": {"name": "model", "layers": [start, attack]}}
    content = pack(config, save(make_model(), tmp_path, "weights.h5"))
    if container == "h5":

        def write(file: h5py.File, _: Path) -> None:
            file.attrs["model_config"] = json.dumps(config)

        content = _make_hdf5(write, tmp_path)

    answer = post(http, content, classes="2")

    assert_problem(answer, 422, "invalid-request")
    assert answer.json["errors"][0]["pointer"].startswith("#/network/keras")


@on_sqlite
@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "neither a `.keras` nor an HDF5 file"),
        (b"PK\x03\x04", "damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged"),
        (pack({}, b"")[:-30], "damaged"),
        (pack({}, b"no HDF5"), "damaged"),
    ],
    ids=["empty", "zip", "hdf5", "cut off", "no weights"],
)
def test_files_that_are_no_models_are_refused(http: FlaskClient, content: bytes, detail: str) -> None:
    answer = post(http, content, classes="2")

    assert_problem(answer, 422, "invalid-request")
    assert detail in answer.json["errors"][0]["detail"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    path.write_bytes(pack({"config": "x" * (9 * 2**20)}, b""))

    with pytest.raises(InvalidRequest) as refused:
        read_model_file(path, make_upload_limits(), tmp_path)

    assert "the limits are 8,388,608" in refused.value.faults[0].detail


@on_sqlite
def test_weights_of_another_network_fail_the_import(http: FlaskClient, worker: InProcessWorker, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(save(make_model(), tmp_path, "keras"))) as archive:
        config, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    config["config"]["layers"][1]["config"]["units"] = 6
    del config["config"]["layers"][2]

    job = run(http, worker, pack(config, weights), task="regression")

    assert job["error"]["type"] == "/problems/network-does-not-fit"
    assert "Not needed: layers/dense_1/vars/0" in job["error"]["detail"]
