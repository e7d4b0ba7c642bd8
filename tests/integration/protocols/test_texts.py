"""Test that every wire format that carries strings answers texts, also through the clients of other systems."""

import base64
import io
import json
from collections.abc import Callable

import numpy as np
import ovmsclient
import pandas as pd
import pytest
import tritonclient.http as triton
from flask.testing import FlaskClient
from huggingface_hub import InferenceClient
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from shared.database.engine import Sessions
from tests.support.examples import REVIEWS, Json
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # from the clients
]
TEXTS = ["A great film, wonderful and funny.", '지루한 a boring film 👎, "slow"']
INFER = "/v2/models/reviews/infer"
FILE = 'no,text\n1,"A great film, wonderful and funny."\n2,"지루한 a boring film 👎, ""slow"""\n'


@pytest.fixture
def http(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with reviews/1 published."""
    published(REVIEWS).publish(sessions, worker.context.artifacts)
    return http


@pytest.fixture
def named(http: FlaskClient, worker: InProcessWorker) -> FlaskClient:
    """Provide the client, with reviews/1, and with named/1, whose texts are those of the column `text`."""
    table = "text,label\n" + "\n".join(f"{word} film {n},{word}" for n in range(9) for word in ("good", "bad"))
    http.post("/api/v1/datasets", data={"name": "named", "file": (io.BytesIO(table.encode()), "named.csv")})
    spec = {**REVIEWS, "model": "named", "dataset": {"name": "named"}, "training": {"epochs": 1}}
    http.post("/api/v1/jobs", json=spec)
    worker.run_all()
    return http


@pytest.fixture
def expected(http: FlaskClient) -> np.ndarray:
    """Provide the outputs of the network for TEXTS, (2, 1), as the native protocol answers them."""
    answer = http.post("/api/v1/models/reviews/predictions?top=2", json={"instances": TEXTS}).json
    by_class = [{one["class"]: one["probability"] for one in found["top"]} for found in answer["predictions"]]
    return np.array([[found[1]] for found in by_class])


def test_tritonclient_sends_texts(server: str, expected: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    for binary in (True, False):
        for shape in ([2], [2, 1]):
            tensor = triton.InferInput("input", shape, "BYTES")
            texts = np.array([text.encode() for text in TEXTS], np.object_).reshape(shape)
            tensor.set_data_from_numpy(texts, binary_data=binary)

            answer = client.infer("reviews", [tensor]).as_numpy("output")

            assert np.allclose(answer, expected, atol=1e-4)
    metadata = client.get_model_metadata("reviews")
    assert metadata["inputs"] == [{"name": "input", "datatype": "BYTES", "shape": [-1]}]
    client.close()


@pytest.mark.parametrize(
    "inputs",
    [
        [{"name": "input", "shape": [1], "datatype": "BYTES", "data": []}],
        [{"name": "input", "shape": [], "datatype": "BYTES", "data": ["a"]}],
        [{"name": "input", "shape": [2], "datatype": "BYTES", "data": ["a"]}],
        [{"name": "input", "shape": [1], "datatype": "BYTES", "data": [1]}],
        [{"name": "input", "shape": [1, 12], "datatype": "FP32", "data": [0.5] * 12}],
        [{"name": "input", "shape": [1, 12], "datatype": "INT64", "data": [300] * 12}],
        [{"name": "other", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
    ],
)
def test_tensors_that_are_no_texts_are_refused(http: FlaskClient, inputs: list[Json]) -> None:
    answer = http.post(INFER, json={"inputs": inputs})

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])


def test_open_inference_takes_indices_and_base64(http: FlaskClient, expected: np.ndarray) -> None:
    indices = http.post("/api/v1/text/sequences", json={"version": "reviews@1", "texts": TEXTS}).json["padded"]
    encoded = [base64.b64encode(text.encode()).decode() for text in TEXTS]
    parameters = {"content_type": "base64"}
    bodies: list[Json] = [
        {"name": "input", "shape": [2, 12], "datatype": "INT64", "data": indices},
        {"name": "input", "shape": [2], "datatype": "BYTES", "data": encoded, "parameters": parameters},
    ]

    answers = [http.post(INFER, json={"inputs": [body]}).json["outputs"][0]["data"] for body in bodies]

    assert np.allclose(answers, [expected[:, 0]] * 2, atol=1e-4)


def test_the_column_of_a_table_names_the_input(named: FlaskClient) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good film"]}
    answer = named.post("/v2/models/named/infer", json={"inputs": [tensor]})
    classified = [
        named.post("/v1/models/named:classify", data=json.dumps({"examples": [example]})).json["results"]
        for example in ("good film", {"text": "good film"}, {"b64": base64.b64encode(b"good film").decode()})
    ]

    assert answer.status_code == 200
    assert classified[0] == classified[1] == classified[2]
    assert [label for label, _ in classified[0][0]] == ["bad", "good"]


def test_ovmsclient_sends_texts_and_reads_their_type(server: str, expected: np.ndarray) -> None:
    client = ovmsclient.make_http_client(server)

    metadata = client.get_model_metadata("reviews")
    answer = client.predict({"input": [text.encode() for text in TEXTS]}, "reviews")

    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["input"]["dtype"] == "DT_STRING"
    assert np.allclose(answer, expected, atol=1e-4)


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("form", ["texts", "rows", "named", "b64"])
def test_tensorflow_serving_takes_texts(http: FlaskClient, expected: np.ndarray, key: str, form: str) -> None:
    values = {
        "texts": TEXTS,
        "rows": [[text] for text in TEXTS],
        "named": [{"input": text} for text in TEXTS] if key == "instances" else {"input": TEXTS},
        "b64": [{"b64": base64.b64encode(text.encode()).decode()} for text in TEXTS],
    }[form]

    answer = http.post("/v1/models/reviews:predict", data=json.dumps({key: values})).json

    assert np.allclose(answer["predictions" if key == "instances" else "outputs"], expected, atol=1e-4)


def test_a_text_that_is_no_utf8_is_named(http: FlaskClient) -> None:
    good, bad = (base64.b64encode(text).decode() for text in (b"good", b"\xff"))

    answer = http.post("/v1/models/reviews:predict", data=json.dumps({"instances": [{"b64": good}, {"b64": bad}]}))

    assert answer.json["error"].startswith("text 1")


def test_mlflow_scores_frames_of_texts(server: str, expected: np.ndarray) -> None:
    client = ScoringServerClient("127.0.0.1", int(server.rpartition(":")[2]))
    client.url_prefix = f"http://{server}/models/reviews"

    answer = client.invoke(pd.DataFrame({"text": TEXTS}))

    assert np.allclose(answer.get_predictions(), expected, atol=1e-4)


@pytest.mark.parametrize("model", ["reviews", "named"])
def test_mlflow_takes_texts_in_every_form(named: FlaskClient, model: str) -> None:
    path = f"/models/{model}/invocations"
    split = {"columns": ["no", "text"], "data": [[1, TEXTS[0]], [2, TEXTS[1]]]}
    one_column = {"columns": ["text"], "data": [[text] for text in TEXTS]}
    documents: list[Json] = [
        {"dataframe_split": split if model == "named" else one_column},
        {"dataframe_records": [{"text": text} for text in TEXTS]},
        {"instances": TEXTS},
        {"instances": [{"text": text} for text in TEXTS]},
        {"inputs": {"text": TEXTS}},
    ]
    answers = [named.post(path, json=document).json for document in documents]
    content = FILE if model == "named" else "\n".join(line.partition(",")[2] for line in FILE.splitlines()[1:])
    answers.append(named.post(path, data=content.encode(), content_type="text/csv").json)
    answers.append(named.post(path, data=content.encode() + b"\n" * 70_000, content_type="text/csv").json)

    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]["predictions"]) == 2


def test_the_first_row_of_a_csv_names_the_texts_of_a_version_without_names(http: FlaskClient) -> None:
    answer = http.post("/models/reviews/invocations", data='text\n"good, film"\n""\nbad\n', content_type="text/csv")

    assert len(answer.json["predictions"]) == 3


def test_the_name_of_another_column_is_refused(http: FlaskClient) -> None:
    body = "문장\n정말 좋은 영화\n아주 지루한 영화\n".encode()

    answer = http.post("/models/reviews/invocations", data=body, content_type="text/csv")

    assert answer.status_code == 400
    assert "Rename it to 'text'" in answer.json["message"]


def test_a_csv_of_several_columns_without_the_name_is_refused(named: FlaskClient) -> None:
    answer = named.post("/models/named/invocations", data=b"1,good film\n", content_type="text/csv")

    assert answer.status_code == 400
    assert "a line of names with 'text'" in answer.json["message"]


def test_the_client_of_hugging_face_classifies_texts(server: str, expected: np.ndarray) -> None:
    client = InferenceClient(model=f"http://{server}/models/reviews", token="none")

    answer = client.text_classification(TEXTS[0])

    assert (answer[0].label, len(answer)) == ("positive", 2)
    assert answer[0].score == pytest.approx(expected[0, 0], abs=1e-4)


def test_hugging_face_answers_a_list_for_each_text(http: FlaskClient) -> None:
    several = http.post("/models/reviews", json={"inputs": TEXTS, "parameters": {"top_k": 1}}).json
    plain = http.post("/models/reviews", data=TEXTS[0].encode(), content_type="text/plain").json
    refused = http.post("/models/reviews", json={"inputs": [1]})

    assert [[one["label"] for one in ranked] for ranked in several or ()] == [["positive"], ["negative"]]
    assert plain[0][0] == several[0][0]
    assert refused.status_code == 400
