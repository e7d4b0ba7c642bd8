"""Test that errors have the same headers in every wire format."""

from collections.abc import Callable

import pytest

from api.protocols.base import make_error_reply
from api.protocols.call import Reply
from api.protocols.hugging_face import HuggingFaceProtocol
from api.protocols.mlflow import MlflowProtocol
from api.protocols.open_inference import OpenInferenceProtocol
from api.protocols.rest import RestProtocol
from api.protocols.tf_serving import TfServingProtocol
from shared.errors import InvalidRequest, Overloaded, ServiceError

PROTOCOLS = (RestProtocol, TfServingProtocol, OpenInferenceProtocol, MlflowProtocol, HuggingFaceProtocol)


@pytest.mark.parametrize("format_error", [protocol.error for protocol in PROTOCOLS], ids=lambda each: each.__qualname__)
def test_only_a_transient_error_says_when_to_retry(format_error: Callable[[ServiceError], Reply]) -> None:
    transient = make_error_reply(format_error, Overloaded("10 predictions wait."))
    permanent = make_error_reply(format_error, InvalidRequest("The body is empty."))

    assert transient.headers == (("Retry-After", "5"),)
    assert permanent.headers == ()
