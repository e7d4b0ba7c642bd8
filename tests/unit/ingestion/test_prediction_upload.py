"""Test how the columns of a CSV with inputs are found."""

import io
from pathlib import Path

import numpy as np
import pytest

from api.ingestion.prediction_upload import ingest_prediction_inputs
from shared.errors import DatasetRefused
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.normalisation import Normalisation
from shared.spec.preprocessing import Scale
from tests.support.uploads import make_upload_limits

CONTRACT = NumbersContract(shape=(2,), scale=Scale.NONE, normalisation=Normalisation())
LIMITS = make_upload_limits()


def read(text: str, folder: Path) -> list[list[float]]:
    ingest_prediction_inputs(io.BytesIO(text.encode()), CONTRACT, ("a", "b"), None, LIMITS, folder)
    rows: list[list[float]] = np.load(folder / "x.npy").tolist()
    return rows


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "b,a\n2,1\n", "c,b,a\nx,2,1\n", "1,2\n", "first,second\n1,2\n", "a,b,a\n1,2,9\n"]
)
def test_columns_are_found_by_name_or_else_by_position(tmp_path: Path, text: str) -> None:
    assert read(text, tmp_path) == [[1, 2]]


def test_a_header_with_some_of_the_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused) as refused:
        read("B,a\n2,1\n", tmp_path)

    assert "The header lacks 'b'" in refused.value.faults[0].detail
