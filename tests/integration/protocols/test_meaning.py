"""Test that an input means the same in every wire format: rows of a table, pixels, and the input of the network."""

import base64
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.examples import IRIS, Json, changed
from tests.support.images import encoded
from tests.support.uploads import parquet, upload_dataset
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROWS = [[185.0, 90.0], [150.0, 45.0], [160.0, 50.0]]
NAMES = ["height", "weight"]


@pytest.fixture
def people(http: FlaskClient, worker: InProcessWorker) -> FlaskClient:
    """Provide the client, with the model `people` of a table with the columns height and weight, standardized."""
    random = np.random.default_rng(0)
    tall = random.normal((180, 82), (6, 8), (60, 2))
    small = random.normal((160, 52), (6, 8), (60, 2))
    table = pd.DataFrame(np.concatenate([tall, small]), columns=NAMES).assign(sex=["m"] * 60 + ["f"] * 60)
    upload_dataset(http, table.to_csv(index=False).encode(), "people")
    spec = changed(changed(IRIS, "dataset.name", "people"), "network.layers.1.units", 2)
    http.post("/api/v1/jobs", json={**spec, "model": "people"})
    worker.run_all()
    return http


def make_table_requests() -> list[tuple[str, dict[str, Any]]]:
    frame = pd.DataFrame(ROWS, columns=NAMES)[NAMES[::-1]]
    records, lists = frame.to_dict(orient="records"), frame.to_dict(orient="list")
    tensor = {"name": "input", "shape": [3, 2], "datatype": "FP64", "data": ROWS}
    columns = [
        {"name": name, "shape": [3, 1], "datatype": "INT64", "data": [int(v) for v in lists[name]]} for name in lists
    ]
    invocations, predict = "/models/people/invocations", "/v1/models/people:predict"
    return [
        ("/api/v1/models/people/predictions", {"json": {"instances": ROWS}}),
        ("/api/v1/models/people/predictions", {"json": {"instances": records}}),
        (invocations, {"json": {"inputs": ROWS}}),
        (invocations, {"json": {"instances": records}}),
        (invocations, {"json": {"inputs": lists}}),
        (invocations, {"json": {"dataframe_split": frame.to_dict(orient="split")}}),
        (invocations, {"json": {"dataframe_records": records}}),
        (invocations, {"data": frame.to_csv(index=False), "content_type": "text/csv"}),
        (invocations, {"data": "185,90\n150,45\n160,50\n", "content_type": "text/csv"}),
        (
            invocations,
            {
                "data": parquet(**{name: frame[name].to_numpy() for name in frame}),
                "content_type": "application/vnd.apache.parquet",
            },
        ),
        (predict, {"json": {"instances": ROWS}}),
        (predict, {"json": {"instances": records}}),
        (predict, {"json": {"inputs": ROWS}}),
        (predict, {"json": {"inputs": lists}}),
        ("/v1/models/people:classify", {"json": {"examples": records}}),
        ("/v2/models/people/infer", {"json": {"inputs": [tensor]}}),
        ("/v2/models/people/infer", {"json": {"inputs": columns}}),
    ]


def read_labels(answer: TestResponse, classes: list[str]) -> list[str]:
    """Return the most probable class of each row, in whichever format."""
    assert answer.status_code == 200, answer.text
    document: Any = answer.json
    if "outputs" in document:
        outputs = document["outputs"]
        values: Any = outputs[0]["data"] if isinstance(outputs[0], dict) else outputs
    elif "results" in document:
        return [max(row, key=lambda pair: pair[1])[0] for row in document["results"]]
    else:
        values = document["predictions"]
    if isinstance(values[0], dict):
        return [found["label"] for found in values]
    return [classes[index] for index in np.reshape(values, (-1, len(classes))).argmax(axis=1)]


def test_a_row_of_a_scaled_table_means_the_same_in_every_format(people: FlaskClient) -> None:
    for path, request in make_table_requests():
        answer = people.post(path, **request)

        assert read_labels(answer, ["f", "m"]) == ["m", "f", "f"], (path, request)


def test_columns_as_binary_tensors_are_a_table(people: FlaskClient) -> None:
    tensors = [
        {"name": name, "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": 12}} for name in NAMES
    ]
    head = json.dumps({"inputs": tensors}).encode()
    body = head + np.asarray(ROWS, "<f4").T.tobytes()

    answer = people.post(
        "/v2/models/people/infer", data=body, headers={"Inference-Header-Content-Length": str(len(head))}
    )

    assert read_labels(answer, ["f", "m"]) == ["m", "f", "f"]


def make_encoded_requests() -> list[tuple[str, Json]]:
    """Make requests with the same two rows of a column of text and a column of numbers, of which one is missing."""
    rows = [["서울", 30], ["부산 ", None]]
    city = {"name": "city", "shape": [2, 1], "datatype": "BYTES", "data": ["서울", "부산"]}
    age = {"name": "age", "shape": [2, 1], "datatype": "BYTES", "data": ["30", ""]}
    numbers = {"name": "age", "shape": [2], "datatype": "FP32", "data": [30, 32]}
    texts = {"name": "input", "shape": [2, 2], "datatype": "BYTES", "data": ["서울", "30", "부산", "NA"]}
    return [
        ("/v1/models/cities:predict", {"instances": rows}),
        ("/models/cities/invocations", {"dataframe_split": {"columns": ["city", "age"], "data": rows}}),
        ("/v2/models/cities/infer", {"inputs": [age, city]}),
        ("/v2/models/cities/infer", {"inputs": [city, numbers]}),
        ("/v2/models/cities/infer", {"inputs": [texts]}),
    ]


def test_raw_rows_of_encoded_columns_mean_the_same_in_every_format(http: FlaskClient, worker: InProcessWorker) -> None:
    table = "city,age,kind\n" + "서울,30,a\n부산,32,b\n대구,34,a\n,32,b\n" * 10
    options = '{"city": {"encode": "one-hot", "fill": "부산"}, "age": {"fill": 32}}'
    assert upload_dataset(http, table.encode(), "cities", columns=options).status_code == 201
    spec = changed(changed(IRIS, "dataset.name", "cities"), "network.layers.1.units", 2)
    http.post("/api/v1/jobs", json={**spec, "model": "cities"})
    worker.run_all()

    for path, body in make_encoded_requests():
        answer = http.post(path, json=body)

        assert read_labels(answer, ["a", "b"]) == ["a", "b"], (path, body)
    wrong = {"name": "input", "shape": [1, 2], "datatype": "BYTES", "data": ["제주", "30"]}
    refused = http.post("/v2/models/cities/infer", json={"inputs": [wrong]})
    assert (refused.status_code, "'제주'" in refused.json["error"]) == (400, True)


def test_decimal_commas_of_the_training_table_mean_the_same_in_predictions(
    http: FlaskClient, worker: InProcessWorker
) -> None:
    table = "도시;size;kind\n" + "서울;1,25;a\n부산;9,5;b\n" * 20
    uploaded = upload_dataset(http, table.encode("cp949"), "sizes", encoding="cp949", columns='{"도시": "one-hot"}')
    assert (uploaded.json["decimal"], uploaded.json["warnings"]) == (",", [])
    spec = changed(changed(IRIS, "dataset.name", "sizes"), "network.layers.1.units", 2)
    http.post("/api/v1/jobs", json={**spec, "model": "sizes"})
    worker.run_all()
    rows = "도시;size\n서울;1,234\n부산;9,876\n"  # alone, these can be thousands

    online = http.post("/models/sizes/invocations", data=rows.encode(), content_type="text/csv")
    texts = {"name": "input", "shape": [2, 2], "datatype": "BYTES", "data": ["서울", "1,234", "부산", "9,876"]}
    raw = http.post("/v2/models/sizes/infer", json={"inputs": [texts]})
    form = {"file": (io.BytesIO(rows.encode("cp949")), "rows.csv"), "encoding": "cp949"}
    job = http.post("/api/v1/models/sizes/batch-predictions", data=form).json
    worker.run_all()

    assert read_labels(online, ["a", "b"]) == read_labels(raw, ["a", "b"]) == ["a", "b"]
    lines = http.get(f"/api/v1/jobs/{job['id']}/predictions.jsonl").text.splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["a", "b"]
    version = http.get("/api/v1/models/sizes/versions/1").json
    single = http.post("/models/sizes/invocations", data=b"\xec\x84\x9c;1;2\n", content_type="text/csv")
    assert (version["preprocessing"]["decimal"], single.status_code) == (",", 400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/models/people/predictions", {"instances": [{"height": 180, "wieght": 80}]}),
        ("/v1/models/people:predict", {"instances": [{"height": 180}]}),
        ("/models/people/invocations", {"instances": [{"height": 180, "mass": 80}]}),
    ],
)
def test_a_row_without_a_column_is_refused_with_the_names(people: FlaskClient, path: str, body: Json) -> None:
    answer = people.post(path, json=body)

    assert answer.status_code in (400, 422)
    assert "'weight' are missing" in answer.text
    assert "'height', 'weight'" in answer.text


def test_the_metadata_tell_who_scales(people: FlaskClient) -> None:
    ours = people.get("/api/v1/models/people/versions/1").json
    theirs = people.get("/v2/models/people").json

    assert (ours["scaled_by"], ours["columns"]) == ("version", NAMES)
    assert theirs["parameters"] == {"scaled_by": "version", "columns": NAMES}


def make_pixel_requests(pixels: np.ndarray) -> list[tuple[str, dict[str, Any]]]:
    """Return requests with an image (height, width, 1) uint8, as pixels."""
    listed = [pixels.tolist()]
    shape = [1, *pixels.shape]
    tensor = {"name": "input", "shape": shape, "datatype": "UINT8"}
    size = {"parameters": {"binary_data_size": pixels.size}}
    head = json.dumps({"inputs": [{**tensor, **size}]}).encode()
    return [
        ("/api/v1/models/digits/predictions?top=10", {"json": {"instances": listed}}),
        ("/v1/models/digits:predict", {"json": {"instances": listed}}),
        ("/v1/models/digits:predict", {"json": {"inputs": listed}}),
        ("/v1/models/digits:predict", {"json": {"instances": [pixels.astype(float).tolist()]}}),
        ("/v1/models/digits:predict", {"json": {"instances": [{"input": listed[0]}]}}),
        ("/models/digits/invocations", {"json": {"inputs": listed}}),
        ("/models/digits/invocations", {"json": {"instances": listed}}),
        ("/v2/models/digits/infer", {"json": {"inputs": [{**tensor, "data": listed}]}}),
        (
            "/v2/models/digits/infer",
            {"data": head + pixels.tobytes(), "headers": {"Inference-Header-Content-Length": str(len(head))}},
        ),
    ]


def read_probabilities(answer: TestResponse) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    document: Any = answer.json
    if "outputs" in document:
        outputs = document["outputs"]
        return np.ravel(outputs[0]["data"] if isinstance(outputs[0], dict) else outputs)
    (found,) = document["predictions"]
    if isinstance(found, dict):
        return np.array([best["probability"] for best in sorted(found["top"], key=lambda best: best["class"])])
    return np.asarray(found)


def test_whole_numbers_are_pixels_in_every_format(http: FlaskClient, digit: np.ndarray, expected: np.ndarray) -> None:
    for path, request in make_pixel_requests(digit):
        answer = http.post(path, **request)

        assert np.allclose(read_probabilities(answer), expected, atol=1e-5), path
        assert answer.headers["Trainyard-Input"] == "pixels"


def test_pixels_of_another_size_are_resized_as_a_file_is(http: FlaskClient, digit: np.ndarray) -> None:
    large = np.kron(digit, np.ones((3, 4, 1), np.uint8))
    file = http.post("/api/v1/models/digits/predictions?top=10", data=encoded(large))

    for path, request in make_pixel_requests(large):
        assert np.allclose(read_probabilities(http.post(path, **request)), read_probabilities(file), atol=1e-5), path


def test_fractions_are_the_network_s_input_in_every_format(
    http: FlaskClient, digit: np.ndarray, expected: np.ndarray
) -> None:
    scaled = (digit / 255).tolist()
    tensor = {"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": scaled}
    for path, body in (
        ("/api/v1/models/digits/predictions?top=10", {"instances": [scaled]}),
        ("/v1/models/digits:predict", {"instances": [scaled]}),
        ("/models/digits/invocations", {"inputs": [scaled]}),
        ("/v2/models/digits/infer", {"inputs": [tensor]}),
    ):
        answer = http.post(path, json=body)

        assert np.allclose(read_probabilities(answer), expected, atol=1e-5), path
        assert answer.headers["Trainyard-Input"] == "network"


def test_the_meaning_is_decided_once_for_a_request(http: FlaskClient, digit: np.ndarray) -> None:
    """Send a black image beside a digit: alone, its zeros could also be the network's input."""
    black = np.zeros((8, 8, 1), int).tolist()

    both = http.post("/api/v1/models/digits/predictions", json={"instances": [black, digit.tolist()]})
    alone = http.post("/api/v1/models/digits/predictions", json={"instances": [black]})

    assert (both.headers["Trainyard-Input"], alone.headers["Trainyard-Input"]) == ("pixels", "network")
    assert both.json["predictions"][0]["probability"] == alone.json["predictions"][0]["probability"]


def test_a_tensor_declared_as_floating_point_is_never_pixels(http: FlaskClient, digit: np.ndarray) -> None:
    tensor = {"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": digit.tolist()}

    answer = http.post("/v2/models/digits/infer", json={"inputs": [tensor]})

    assert answer.headers["Trainyard-Input"] == "network"


@pytest.mark.parametrize("datatype", ["INT8", "INT32", "INT64", "UINT16"])
def test_other_integers_are_refused_for_images(http: FlaskClient, datatype: str) -> None:
    tensor = {"name": "input", "shape": [1, 8, 8, 1], "datatype": datatype, "data": [100] * 64}

    answer = http.post("/v2/models/digits/infer", json={"inputs": [tensor]})

    assert answer.status_code == 400
    assert "Send pixels as UINT8, and the network's input as FP32" in answer.json["error"]


def test_numbers_outside_of_the_range_of_the_training_are_told(http: FlaskClient) -> None:
    bright = np.full((8, 8, 1), 127.5).tolist()

    (found,) = http.post("/api/v1/models/digits/predictions", json={"instances": [bright]}).json["predictions"]

    assert "the network was trained on 0 to 1" in found["warnings"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\n".join(text[start : start + 20] for start in range(0, len(text), 20)),
        lambda text: text.rstrip("="),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: "data:image/png;base64," + text,
        lambda text: "data:image/png;name=a.png;base64," + text.rstrip("="),
    ],
    ids=["line breaks", "no padding", "URL-safe", "data URL", "data URL with a name"],
)
def test_every_form_of_base64_is_read(http: FlaskClient, digit: np.ndarray, expected: np.ndarray, change: Any) -> None:
    text = change(base64.b64encode(encoded(digit)).decode())
    tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": [text]}
    for path, body in (
        ("/api/v1/models/digits/predictions?top=10", {"instances": [{"b64": text}]}),
        ("/v1/models/digits:predict", {"instances": [{"b64": text}]}),
        ("/models/digits/invocations", {"dataframe_split": {"columns": ["image"], "data": [[text]]}}),
        ("/v2/models/digits/infer", {"inputs": [tensor]}),
    ):
        assert np.allclose(read_probabilities(http.post(path, json=body)), expected, atol=1e-5), path
    labels = http.post("/models/digits", json={"inputs": text}).json
    assert np.isclose(labels[0]["score"], expected.max(), atol=1e-5)


@pytest.mark.parametrize("text", ["@@", "data:image/png;base64,@@", "iVBO!", "A"])
def test_what_is_not_base64_is_refused(http: FlaskClient, text: str) -> None:
    answer = http.post("/api/v1/models/digits/predictions", json={"instances": [{"b64": text}]})

    assert answer.status_code == 422
    assert "not base64" in answer.text


def test_an_image_is_read_by_its_content(http: FlaskClient, digit: np.ndarray, expected: np.ndarray) -> None:
    png = encoded(digit)
    form = {"file": (io.BytesIO(png), "a.jpg", "image/jpeg")}

    for answer in (
        http.post("/api/v1/models/digits/predictions?top=10", data=form),
        http.post("/api/v1/models/digits/predictions?top=10", data=png, content_type="image/jpeg"),
        http.post("/api/v1/models/digits/predictions?top=10", data=png, content_type="image/apng"),
    ):
        assert np.allclose(read_probabilities(answer), expected, atol=1e-5)
