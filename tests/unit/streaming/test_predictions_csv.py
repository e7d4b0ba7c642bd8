"""Test the CSV of the results of a batch prediction."""

import csv
import json

import pytest

from api.streaming.predictions_csv import format_csv


@pytest.mark.parametrize("name", ["=1+1.png", "+1+cmd.png", "-2+3.png", "@SUM(1+1).png", "\t=1.png", "\r=1.png"])
def test_a_text_that_is_a_formula_is_quoted(name: str) -> None:
    answer = {"row": 0, "name": name, "label": name, "class": 1, "probability": 0.5}
    part = json.dumps(answer).encode() + b"\n"

    _, row = csv.reader("".join(format_csv([part], ("label", "class", "probability"))).splitlines(keepends=True))

    assert row[:5] == ["0", f"'{name}", f"'{name}", "1", "0.5"]


def test_a_negative_number_is_not_quoted() -> None:
    part = json.dumps({"row": 0, "name": "a", "value": -1.5}).encode()

    _, row = csv.reader("".join(format_csv([part], ("value",))).splitlines())

    assert row[2] == "-1.5"
