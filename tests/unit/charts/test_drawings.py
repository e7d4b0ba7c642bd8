"""Test pictures of hostile names and of many classes."""

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from api.charts import drawings
from api.charts.drawings import MAX_DRAWN_CLASSES
from api.charts.kinds import PictureFormat
from api.charts.rendering import render
from shared.registry.evaluation import ClassificationReport, ClassReport


def make_report(classes: list[str], **confusion: Any) -> ClassificationReport:
    reports = [ClassReport(label=name, precision=0, recall=0, f1=0, support=0) for name in classes]
    return ClassificationReport(accuracy=0, top_k={}, calibration_error=0, mistakes=0, classes=reports, **confusion)


def read_text(classes: list[str], matrix: np.ndarray) -> str:
    """Return all texts of the SVG of a confusion matrix. Fails if the SVG is not well-formed."""
    draw, size = drawings.draw_confusion("title", classes, make_report(classes, confusion=matrix.tolist()))
    return " ".join(ET.fromstring(render(draw, size, PictureFormat.SVG, None)).itertext())  # noqa: S314 - our own SVG


@pytest.mark.filterwarnings("ignore:Glyph")  # as in api/charts/rendering.py
@pytest.mark.parametrize("name", ["a\x01b", "a\x0b\x1bb", "\ufffe\uffff", "<script>alert(1)</script>", "$x^2$", "&#1;"])
def test_an_svg_is_well_formed_whatever_the_names_contain(name: str) -> None:
    text = read_text([name, "other"], np.eye(2, dtype=np.int64))

    assert "other" in text
    assert name.isprintable() <= (name[:15] in text)


def test_the_most_confused_of_many_classes_are_drawn() -> None:
    classes = [f"c{index}" for index in range(1500)]
    matrix = np.diag(np.full(1500, 9))
    matrix[7, 1400] = 5

    text = read_text(classes, matrix)

    assert f"the {MAX_DRAWN_CLASSES} most confused of 1,500 classes" in text
    assert {"c7", "c1400"} <= set(text.split())
    assert "c1399" not in text.split()


def test_cells_and_a_whole_matrix_select_the_same_classes() -> None:
    classes = [f"c{index}" for index in range(30)]
    matrix = np.random.default_rng(0).integers(0, 3, (30, 30))
    cells = [(int(i), int(j), int(matrix[i, j])) for i, j in np.argwhere(matrix)]

    whole = make_report(classes, confusion=matrix.tolist()).select_confusion(10)
    sparse = make_report(classes, confusion_cells=cells).select_confusion(10)

    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    assert set(whole[0]) == set(np.argsort(-wrong, kind="stable")[:10])
    assert np.array_equal(whole[1], matrix[np.ix_(whole[0], whole[0])])
    assert all(np.array_equal(a, b) for a, b in zip(whole, sparse, strict=True))
