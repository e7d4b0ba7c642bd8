"""Test pictures of hostile names and of many classes."""

import warnings
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from api.charts import drawings
from api.charts.drawings import MAX_DRAWN_CLASSES
from api.charts.kinds import PictureFormat, Theme
from api.charts.rendering import COLORS, render
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


def test_hangul_names_are_drawn() -> None:
    classes = ["고양이", "강아지", "漢字", "かな"]
    draw, size = drawings.draw_confusion(
        "숫자 모델 version 1", classes, make_report(classes, confusion=np.eye(4).tolist())
    )

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        render(draw, size, PictureFormat.PNG, None)

    assert [str(one.message) for one in caught if "Glyph" in str(one.message)] == []


@pytest.mark.parametrize("title", ["a" * 100, "언어" * 40, "long words " * 30, "short"])
def test_a_title_fits_its_picture(title: str) -> None:
    draw, size = drawings.draw_gallery(title, [drawings.Tile(np.zeros((8, 8, 1), np.uint8), "x")])
    figure = Figure(figsize=size, layout="constrained")

    draw(figure, COLORS[Theme.LIGHT])
    figure.draw_without_rendering()

    assert figure.get_suptitle() != ""
    assert max(text.get_window_extent().x1 for text in figure.texts) <= figure.bbox.x1


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("name", ["ink", "right", "wrong"])
def test_texts_have_enough_contrast(theme: Theme, name: str) -> None:
    colors = vars(COLORS[theme])
    lighter, darker = sorted(map(compute_luminance, (colors[name], colors["page"])), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def compute_luminance(color: str) -> float:
    """Compute the relative luminance of `#rrggbb`. Source: WCAG 2.2."""
    parts = np.array([int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("classes", [3, 30])
def test_a_single_mistake_of_many_rows_is_seen(classes: int) -> None:
    matrix = 1000 * np.eye(classes, dtype=np.int64)
    names = [f"c{index}" for index in range(classes)]
    pictures = []
    for count in (0, 1):
        matrix[0, 1] = count
        draw, size = drawings.draw_confusion("title", names, make_report(names, confusion=matrix.tolist()))
        figure = Figure(figsize=size)
        draw(figure, COLORS[Theme.LIGHT])
        (image,) = figure.axes[0].images
        pictures.append(np.asarray(image.to_rgba(np.ma.asarray(image.get_array())))[0, 1])

    assert np.abs(pictures[1] - pictures[0]).max() > 0.5
