"""Test that texts are trained on and predicted, and what the vocabulary does."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from shared.database.engine import Sessions
from shared.registry import versions
from shared.registry.manifest import ManifestFile
from shared.storage.artifacts import ArtifactStore
from tests.support.examples import DIGITS, REVIEWS, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import npz, zipped
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GOOD, BAD = "A great film, wonderful and funny.", "A boring film, terrible and slow."
KOREAN = "정말 좋아요! 👍🏽"
TEXTS = [f"good {word}" for word in ("day", "film", "food", "book", "soup", "song")] + [
    f"bad {word}" for word in ("day", "film", "food", "book", "soup", "song")
]
LABELS = ["good"] * 6 + ["bad"] * 6
EMBEDDING = {"layer": "Embedding", "input_dim": 300, "output_dim": 8, "mask_zero": True}
INLINE = changed(REVIEWS, "dataset", {"inline": {"x": TEXTS, "y": LABELS}, "validation": {"split": 0}})


def predict(http: FlaskClient, *texts: object, model: str = "reviews") -> list[Json]:
    answer = http.post(f"/api/v1/models/{model}/predictions", json={"instances": list(texts)})
    assert answer.status_code == 200, answer.text
    predictions: list[Json] = answer.json["predictions"]
    return predictions


def read_manifest(sessions: Sessions, artifacts: ArtifactStore, model: str = "reviews") -> ManifestFile:
    with sessions() as session:
        version = versions.get_version(session, model, "latest")
        return ManifestFile.model_validate_json(artifacts.read(versions.get_file(version, "version.json").sha256))


@pytest.fixture
def reviews(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client with reviews/1, a version of texts."""
    published(REVIEWS).publish(sessions, worker.context.artifacts)
    return http


def test_a_version_of_texts_takes_texts_in_every_form(reviews: FlaskClient) -> None:
    answers = [
        *predict(reviews, GOOD, {"text": GOOD}, {"b64": "QSBncmVhdCBmaWxtLCB3b25kZXJmdWwgYW5kIGZ1bm55Lg=="}),
        reviews.post(
            "/api/v1/models/reviews/predictions", data=GOOD.encode(), content_type="text/plain; charset=utf-8"
        ).json["predictions"][0],
        reviews.post("/api/v1/models/reviews/predictions", data={"file": (io.BytesIO(GOOD.encode()), "good.txt")}).json[
            "predictions"
        ][0],
    ]

    assert {answer["label"] for answer in answers} == {"positive"}
    assert len({answer["probability"] for answer in answers}) == 1
    assert predict(reviews, BAD)[0]["label"] == "negative"


@pytest.mark.parametrize("text", ["", " \n", "\0", KOREAN, "x" * 2**20, "…" * 1000], ids=lambda text: ascii(text[:8]))
def test_a_text_without_a_known_word_is_answered_with_a_warning(reviews: FlaskClient, text: str) -> None:
    (answer,) = predict(reviews, text)

    assert 0 < answer["probability"] < 1
    assert "None of the words" in answer["warnings"][0]


def test_of_10000_words_the_last_count(reviews: FlaskClient) -> None:
    assert predict(reviews, f"{'great ' * 10_000} {'terrible ' * 12}")[0]["label"] == "negative"


@pytest.mark.parametrize(
    ("instance", "detail"),
    [
        ([1, 2], "12 word indices from 0 to 299"),
        ([0.5] * 12, "12 word indices"),
        ([300] * 12, "12 word indices"),
        ({"b64": "/w=="}, "texts in UTF-8"),
        ("x" * (2**21 + 1), "the limit is 2,097,152"),
        (None, "a text"),
    ],
    ids=["length", "fractions", "too large", "not UTF-8", "too long", "null"],
)
def test_what_is_no_text_is_refused(reviews: FlaskClient, instance: object, detail: str) -> None:
    answer = reviews.post("/api/v1/models/reviews/predictions", json={"instances": [instance]})

    assert_problem(answer, 422, "invalid-request")
    assert detail in answer.json["detail"]


def test_word_indices_are_the_network_input(reviews: FlaskClient) -> None:
    asked = {"version": "reviews", "texts": [GOOD]}
    padded = reviews.post("/api/v1/text/sequences", json=asked).json["padded"][0]

    assert predict(reviews, padded) == predict(reviews, GOOD)


@on_sqlite
def test_words_are_shown_in_their_order(http: FlaskClient) -> None:
    asked = {"fit": ["good film"], "texts": ["A good, xyzzy film"]}

    words = http.post("/api/v1/text/sequences", json=asked).json["texts"][0]["words"]

    assert [(one["word"], one["index"]) for one in words] == [("a", None), ("good", 1), ("xyzzy", None), ("film", 2)]


@on_sqlite
def test_an_image_version_refuses_a_text(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    published(DIGITS).publish(sessions, worker.context.artifacts)

    answer = http.post("/api/v1/models/digits/predictions", json={"instances": ["seven"]})

    assert_problem(answer, 422, "invalid-request")


def test_the_vocabulary_is_that_of_the_training_part_and_not_in_the_database(
    reviews: FlaskClient, sessions: Sessions, worker: InProcessWorker
) -> None:
    contract = read_manifest(sessions, worker.context.artifacts).preprocessing
    document = reviews.get("/api/v1/models/reviews/versions/1").json["preprocessing"]

    assert contract.kind == "texts"
    assert contract.vocabulary[:2] == ("the", "and")
    assert len(contract.vocabulary) == 299
    assert (document["size"], "vocabulary" in document) == (300, False)
    assert contract.model_copy(update={"vocabulary": ()}).model_dump(mode="json") == document


def test_test_rows_are_shown_as_texts(reviews: FlaskClient) -> None:
    rows = reviews.get("/api/v1/models/reviews/versions/1/evaluation/rows").json["rows"]

    assert len(rows) == 40
    assert all(isinstance(row["text"], str) and row["values"] is None and row["image"] is None for row in rows)
    page = reviews.get("/ui/models/reviews/try").text
    assert sum(escape(row["text"]) in page for row in rows if len(row["text"]) < 40) > 9


LAYERS = {
    "lstm": [EMBEDDING, {"layer": "LSTM", "units": 8}],
    "gru": [EMBEDDING, {"layer": "GRU", "units": 8}],
    "stacked": [
        EMBEDDING,
        {"layer": "Bidirectional", "layers": [{"layer": "GRU", "units": 4, "return_sequences": True}]},
        {"layer": "LSTM", "units": 4},
    ],
    "conv": [
        {"layer": "Embedding", "input_dim": 300, "output_dim": 8},
        {"layer": "Conv1D", "filters": 8, "kernel_size": 3, "activation": "relu"},
        {"layer": "GlobalMaxPooling1D"},
    ],
    "average": [EMBEDDING, {"layer": "GlobalAveragePooling1D"}],
    "distributed": [
        {"layer": "Embedding", "input_dim": 300, "output_dim": 8},
        {"layer": "TimeDistributed", "layers": [{"layer": "Dense", "units": 4, "activation": "tanh"}]},
        {"layer": "Flatten"},
    ],
}


@on_sqlite
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_recurrent_and_convolutional_networks_learn_texts(
    http: FlaskClient, worker: InProcessWorker, layers: list[Json]
) -> None:
    spec = changed(INLINE, "network.layers", [*layers, {"layer": "Dense", "units": 2, "activation": "softmax"}])

    job = train(http, worker, changed(spec, "training.epochs", 25))

    assert job["status"] == "succeeded", job
    labels = [answer["label"] for answer in predict(http, "good film", "bad film")]
    assert labels == ["good", "bad"]


@on_sqlite
def test_an_average_over_no_word_is_refused(http: FlaskClient, worker: InProcessWorker) -> None:
    head = [EMBEDDING, {"layer": "GlobalAveragePooling1D"}, {"layer": "Dense", "units": 2, "activation": "softmax"}]
    spec = changed(changed(INLINE, "network.layers", head), "training.epochs", 1)
    empty = changed(spec, "dataset.inline.x", ["", *TEXTS[1:]])

    trained, failed = train(http, worker, spec), train(http, worker, empty)

    assert trained["status"] == "succeeded"
    answer = http.post("/api/v1/models/reviews/predictions", json={"instances": ["", "good"]}).json["predictions"]
    assert "averages over known words" in answer[0]["problem"]["detail"]
    assert answer[1]["label"] in ("good", "bad")
    assert failed["error"]["type"] == "/problems/network-does-not-fit"
    assert "1 texts have no word of the vocabulary" in failed["error"]["detail"]


@on_sqlite
def test_texts_of_which_no_word_is_left_fail_clearly(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, changed(INLINE, "dataset.inline.x", ["…", "!", "?"] * 4))
    words = train(http, worker, changed(INLINE, "dataset.inline.x", ["!", "?"] * 6))

    assert job["status"] == "succeeded"  # "…" is a word, as in Keras
    assert words["error"]["type"] == "/problems/dataset-does-not-fit"
    assert "have no word" in words["error"]["detail"]


@on_sqlite
def test_a_training_goes_on_with_the_vocabulary_of_a_version(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    train(http, worker, changed(INLINE, "training.epochs", 1))
    before = read_manifest(sessions, worker.context.artifacts).preprocessing
    tuned: Json = {
        "model": "tuned",
        "dataset": {"name": "reviews_korean"},
        "network": {"from": "reviews@1"},
        "training": {"epochs": 1},
    }

    job = train(http, worker, tuned)

    assert job["status"] == "succeeded", job
    assert read_manifest(sessions, worker.context.artifacts, "tuned").preprocessing == before
    refused = http.post("/api/v1/jobs", json=changed(tuned, "preprocessing", {"text": {"length": 7}}))
    assert_problem(refused, 422, "invalid-request")
    assert refused.json["errors"][0]["pointer"] == "#/preprocessing/text/length"


@on_sqlite
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (("network.layers.0.input_dim", 299), "#/network/layers/0/input_dim"),
        (("preprocessing", {"size": [8, 8]}), "#/preprocessing/size"),
        (("preprocessing", {"scale": "unit"}), "#/preprocessing/scale"),
        (("preprocessing.text.vocabulary", 2), "#/preprocessing/text/vocabulary"),
        (("preprocessing.text.tokenizer", "syllables"), "#/preprocessing/text/tokenizer"),
        (("preprocessing.text", {"tokenizer": "characters", "filters": "."}), "#/preprocessing/text"),
        (("dataset", {"inline": {"x": ["a", 1], "y": [0, 1]}}), "#/dataset/inline/x/1"),
        (("dataset", {"inline": {"x": ["a\0", "b"], "y": [0, 1]}}), "#/dataset/inline/x/0"),
        (("network.layers.1", {"layer": "Bidirectional", "units": 3}), "#/network/layers/1"),
        (
            ("network.layers.1", {"layer": "Bidirectional", "layers": [{"layer": "Dense", "units": 1}]}),
            "#/network/layers/1",
        ),
    ],
)
def test_specs_that_do_not_fit_texts_are_refused(http: FlaskClient, change: tuple[str, Any], pointer: str) -> None:
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(REVIEWS, *change))

    assert_problem(answer, 422, "invalid-request")
    assert pointer in [fault["pointer"] for fault in answer.json["errors"]]


@on_sqlite
@pytest.mark.parametrize(
    ("layers", "pointer"),
    [
        (
            [{"layer": "Reshape", "target_shape": [4, 4]}, {**EMBEDDING, "input_dim": 3}],
            "#/network/layers/1/input_dim",
        ),
        ([{"layer": "Dropout", "rate": 0.1}, EMBEDDING], "#/network/layers/1"),
        ([{"layer": "Rescaling", "scale": 2.0}, EMBEDDING], "#/network/layers/1"),
        (
            [{"layer": "TimeDistributed", "layers": [{**EMBEDDING, "input_dim": 3}]}],
            "#/network/layers/0/layers/0/input_dim",
        ),
        ([EMBEDDING, {"layer": "LSTM", "units": 3, "return_state": True}], "#/network/layers/1"),
    ],
    ids=["too small", "of changed indices", "of scaled indices", "inside of a layer", "several outputs"],
)
def test_networks_that_do_not_fit_texts_are_refused(http: FlaskClient, layers: list[Json], pointer: str) -> None:
    spec = changed(REVIEWS, "network.layers", [*layers, {"layer": "Flatten"}, {"layer": "Dense", "units": 2}])

    answer = http.post("/api/v1/jobs?dry_run=true", json=spec)

    assert_problem(answer, 422, "invalid-request")
    assert pointer in [fault["pointer"] for fault in answer.json["errors"]]


@on_sqlite
@pytest.mark.parametrize("layer", [{"layer": "GlobalAveragePooling1D"}, {"layer": "LSTM", "units": 3}])
def test_a_network_with_masks_is_exported_trained_on_and_compared(
    http: FlaskClient, worker: InProcessWorker, layer: Json
) -> None:
    """Keras saves the masks of `mask_zero` as operations beside the layers."""
    layers = [EMBEDDING, layer, {"layer": "Dense", "units": 2, "activation": "softmax"}]
    train(http, worker, changed(changed(INLINE, "network.layers", layers), "training.epochs", 1))
    version = "/api/v1/models/reviews/versions/1"

    exported = http.post(f"{version}/exports", json={"format": "h5"}).json
    compared = http.post(f"{version}/baselines").json
    tuned = train(http, worker, {**INLINE, "network": {"from": "reviews@1"}, "training": {"epochs": 1}})

    jobs = [http.get(f"/api/v1/jobs/{job['id']}").json for job in (exported, compared, tuned)]
    assert [job["status"] for job in jobs] == 3 * ["succeeded"], [job["error"] for job in jobs]


@on_sqlite
def test_the_key_text_is_for_texts(http: FlaskClient) -> None:
    spec = changed(REVIEWS, "dataset", {"name": "iris"})

    answer = http.post("/api/v1/jobs?dry_run=true", json=spec)

    assert answer.json["errors"][0]["pointer"] == "#/preprocessing/text"


CSV_FILE = "text,label\n" + "\n".join(f'"{text}, yes",{label}' for text, label in zip(TEXTS, LABELS, strict=True))
ZIP_FILE = zipped(
    {f"{label}/{number}.txt": text.encode() for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))}
)
FILES = {
    "csv": ("reviews.csv", CSV_FILE.encode()),
    "zip": ("reviews.zip", ZIP_FILE),
    "npz": ("reviews.npz", npz(x=np.asarray(TEXTS), y=np.asarray(LABELS))),
}


@pytest.mark.parametrize("kind", FILES)
def test_uploaded_texts_are_trained_on_and_shown(http: FlaskClient, worker: InProcessWorker, kind: str) -> None:
    name, content = FILES[kind]

    answer = http.post("/api/v1/datasets", data={"name": "words", "file": (io.BytesIO(content), name)})
    job = train(http, worker, changed(REVIEWS, "dataset", {"name": "words", "test": {"split": 0.2}}))

    assert answer.status_code == 201, answer.text
    assert (answer.json["kind"], answer.json["shape"]) == ("texts", [])
    assert [one["label"] for one in answer.json["classes"]] == ["bad", "good"]
    assert job["status"] == "succeeded", job
    rows = http.get("/api/v1/datasets/words/rows").json["rows"]
    assert {row["text"].removesuffix(", yes") for row in rows} == set(TEXTS)
    assert http.get("/api/v1/datasets/words/rows/0").json["text"] == rows[0]["text"]
    assert http.get("/api/v1/datasets/words/preview.svg").status_code == 200
    assert http.get("/api/v1/datasets/words/scatter.svg").status_code == 404


@on_sqlite
@pytest.mark.parametrize("kind", FILES)
def test_batches_of_texts_are_predicted(
    http: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    published: Callable[[Json], PublishedVersion],
    kind: str,
) -> None:
    published(REVIEWS).publish(sessions, worker.context.artifacts)
    files = {
        "csv": b"no,text\n1,great film\n2,boring film\n",
        "zip": zipped({"1.txt": b"great film", "2.txt": b"\xff\xfe\x00"}),
        "npz": npz(x=np.asarray(["great film", "boring film"])),
    }
    if kind == "csv":
        files["csv"] = b"great film\nboring film\n"

    answer = http.post(
        "/api/v1/models/reviews/batch-predictions", data={"file": (io.BytesIO(files[kind]), f"inputs.{kind}")}
    )
    worker.run_all()

    lines = http.get(f"/api/v1/jobs/{answer.json['id']}/predictions.jsonl").text.splitlines()
    first, second = map(json.loads, lines)
    assert first["label"] == "positive"
    assert "it is not text" in second["problem"]["detail"] if kind == "zip" else second["label"] == "negative"


@on_sqlite
def test_empty_texts_keep_their_places_and_an_unknown_name_is_refused(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    published(REVIEWS).publish(sessions, worker.context.artifacts)

    def post(content: str) -> Any:
        files = {"file": (io.BytesIO(content.encode()), "inputs.csv")}
        return http.post("/api/v1/models/reviews/batch-predictions", data=files)

    empty = post('text\ngreat film\n""\nboring film\n')
    unknown = post("문장\n정말 좋은 영화\n아주 지루한 영화\n")
    worker.run_all()

    lines = http.get(f"/api/v1/jobs/{empty.json['id']}/predictions.jsonl").text.splitlines()
    assert [json.loads(line).get("label") for line in lines][::2] == ["positive", "negative"]
    assert len(lines) == 3
    assert_problem(unknown, 422, "dataset-refused")
    assert "Rename it to 'text'" in unknown.text


@on_sqlite
def test_a_small_table_of_texts_has_names(http: FlaskClient) -> None:
    table = "review,emotion\nI like it,happy\nit is grey,sad\nnot again,angry\nsee you soon,calm\n"

    answer = http.post("/api/v1/datasets", data={"name": "small", "file": (io.BytesIO(table.encode()), "a.csv")})

    assert [one["label"] for one in answer.json["classes"]] == ["angry", "calm", "happy", "sad"]
    assert any("was read as names" in warning for warning in answer.json["warnings"])


@on_sqlite
def test_a_column_that_counts_the_rows_is_no_text(http: FlaskClient) -> None:
    rows = [f'{number},"{text}, yes",{label}' for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]
    table = "\n".join(["id,review,sentiment", *rows])

    answer = http.post("/api/v1/datasets", data={"name": "counted", "file": (io.BytesIO(table.encode()), "a.csv")})

    assert answer.json["kind"] == "texts"
    assert any("'id'" in warning for warning in answer.json["warnings"])


@on_sqlite
def test_a_file_beside_the_class_folders_is_ignored(http: FlaskClient) -> None:
    members = [(f"reviews/{label}/{text}.txt", text.encode()) for text, label in zip(TEXTS, LABELS, strict=True)]
    content = zipped(dict([("reviews/README.txt", b"About these reviews"), *members]))

    answer = http.post("/api/v1/datasets", data={"name": "loose", "file": (io.BytesIO(content), "a.zip")})

    assert [one["label"] for one in answer.json["classes"]] == ["bad", "good"]


@on_sqlite
def test_the_charset_of_a_text_holds(reviews: FlaskClient) -> None:
    def post(body: bytes, kind: str) -> Any:
        return reviews.post("/api/v1/models/reviews/predictions", data=body, content_type=kind)

    plain = post(GOOD.encode(), "text/plain").json
    same = [
        post(GOOD.encode("utf-16"), "text/plain; charset=utf-16").json,
        post(GOOD.encode("utf-8-sig"), "text/plain").json,
        post(GOOD.encode("utf-8-sig"), "text/plain; charset=utf-8").json,
    ]

    assert same == 3 * [plain]
    assert_problem(post(GOOD.encode(), "text/plain; charset=base64"), 415, "unsupported-content")
    assert_problem(post("좋아요".encode("cp949"), "text/plain"), 422, "invalid-request")
    assert_problem(post("좋아요".encode("cp949"), "text/plain; charset=ascii"), 422, "invalid-request")


@on_sqlite
def test_a_data_set_of_texts_is_predicted_as_a_batch(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    published(REVIEWS).publish(sessions, worker.context.artifacts)
    http.post("/api/v1/datasets", data={"name": "words", "file": (io.BytesIO(FILES["csv"][1]), "words.csv")})

    answer = http.post("/api/v1/models/reviews/batch-predictions", json={"dataset": "words"})
    worker.run_all()

    lines = http.get(f"/api/v1/jobs/{answer.json['id']}/predictions.jsonl").text.splitlines()
    assert len(lines) == len(TEXTS)


@on_sqlite
def test_baselines_count_words(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, {**REVIEWS, "baselines": True, "training": {"epochs": 1}})

    found = http.get("/api/v1/models/reviews/versions/1/baselines").json["baselines"]

    tests = {baseline["name"]: baseline["test"] for baseline in found}
    assert tests["majority_class"] == 0.5
    assert tests["logistic_regression"] > 0.6


@on_sqlite
def test_texts_are_exported_with_word_indices_as_inputs(reviews: FlaskClient, worker: InProcessWorker) -> None:
    formats = [one["format"] for one in reviews.get("/api/v1/models/reviews/versions/1/exports").json["exports"]]
    refused = reviews.post("/api/v1/models/reviews/versions/1/exports", json={"format": "tflite-int8"})
    for one in ("h5", "saved_model", "tflite", "openvino", "triton"):
        reviews.post("/api/v1/models/reviews/versions/1/exports", json={"format": one})
    worker.run_all()

    exports = reviews.get("/api/v1/models/reviews/versions/1/exports").json["exports"]
    assert formats == ["h5", "saved_model", "tflite", "openvino", "triton"]
    assert_problem(refused, 422, "invalid-request")
    assert [one["status"] for one in exports] == ["succeeded"] * 5


def test_hostile_zips_of_texts_are_refused(http: FlaskClient) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.txt", b" " * 2**24)
        archive.writestr("b/1.txt", b"\xff\xff\xff\x00")

    answer = http.post("/api/v1/datasets", data={"name": "words", "file": (io.BytesIO(buffer.getvalue()), "a.zip")})

    assert_problem(answer, 422, "dataset-refused")
    details = [fault["detail"] for fault in answer.json["errors"]]
    assert "exceeds the limit of 8,388,608 bytes" in details[0]
    assert "it is not text" in details[1]
