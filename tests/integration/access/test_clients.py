"""Test that the clients of other systems predict with a predict-only key, and how each tells that it was revoked."""

from collections.abc import Callable

import httpx
import numpy as np
import ovmsclient
import pytest
import tritonclient.http as triton
from flask.testing import FlaskClient
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

from tests.integration.access.conftest import Person
from tests.support.images import encoded

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # from the clients
]
ROWS = np.zeros((1, 8, 8, 1), np.float32)
Predict = Callable[[], object]


def by_triton(server: str, key: str) -> Predict:
    client = triton.InferenceServerClient(server)
    tensor = triton.InferInput("input", ROWS.shape, "FP32")
    tensor.set_data_from_numpy(ROWS)
    return lambda: client.infer("digits", [tensor], headers={"Authorization": f"Bearer {key}"})


def by_ovmsclient(server: str, key: str) -> Predict:
    client = ovmsclient.make_http_client(f"user:{key}@{server}")
    return lambda: client.predict({"input": ROWS}, "digits")


def by_mlflow(server: str, key: str) -> Predict:
    host, _, port = server.partition(":")
    client = ScoringServerClient(f"user:{key}@{host}", port)
    return lambda: client.invoke(ROWS)


def by_hugging_face(server: str, key: str) -> Predict:
    client = InferenceClient(token=key)
    return lambda: client.image_classification(
        encoded(ROWS[0].astype(np.uint8)), model=f"http://{server}/models/digits"
    )


def by_httpx(server: str, key: str) -> Predict:
    address = f"http://{server}/api/v1/models/digits/predictions"
    return lambda: httpx.post(
        address, json={"instances": ROWS[..., 0].tolist()}, headers={"X-Api-Key": key}
    ).raise_for_status()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (by_triton, InferenceServerException, "401"),
        (by_ovmsclient, Exception, "not known|revoked"),
        (by_mlflow, Exception, "UNAUTHENTICATED"),
        (by_hugging_face, HfHubHTTPError, "401"),
        (by_httpx, httpx.HTTPStatusError, "401"),
    ],
)
def test_a_client_predicts_with_its_key_until_it_is_revoked(
    server: str,
    digits: FlaskClient,
    admin: Person,
    make: Callable[[str, str], Predict],
    error: type[Exception],
    message: str,
) -> None:
    made = digits.post("/api/v1/keys", json={"name": "x", "models": ["digits"]}, headers=admin.headers).json
    predict = make(server, made["key"])

    assert predict() is not None
    assert predict() is not None
    digits.delete(f"/api/v1/keys/{made['id']}", headers=admin.headers)

    with pytest.raises(error, match=message):
        predict()
