"""Show how well a version predicts its test part: the confusion matrix, the rows behind its cells, and the classes."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from flask import Response, request

from api.documents.evaluations import describe_rows
from api.http.mistakes import RowOrder, RowsFilter, select_rows
from api.http.validation import validate
from api.services import services
from api.web.pages.new_job import list_dataset_names
from api.web.pages.version import list_input_columns, load_version
from api.web.rendering import render
from shared.database.tables.registry import Version
from shared.errors import EvaluationNotFound
from shared.registry.baselines import BASELINES_FILE, Baselines
from shared.registry.evaluation import (
    ANSWERS_FILE,
    EVALUATION_FILE,
    ClassificationReport,
    Evaluation,
    TestPredictions,
    read_evaluation_file,
)
from shared.registry.further_evaluations import FurtherEvaluation, find_key

MAX_MATRIX_CLASSES = 40
MAX_TILES = 48
MAX_CONFUSIONS = 10
MAX_COLUMNS = 30
HEAT_STEPS = 9


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix: its count, its share of the true class, and the step of its colour, from 0."""

    count: int
    share: float
    heat: int


def show_evaluation(model: str, number: int) -> Response:
    """Show the evaluation of a version. A version without one is told how to get it."""
    version = load_version(model, str(number))
    stored = services().get_version(model, str(number))
    artifacts = services().artifacts
    try:
        evaluation = Evaluation.model_validate_json(read_evaluation_file(artifacts, stored, EVALUATION_FILE))
    except EvaluationNotFound:
        evaluation = None
    try:
        baselines = Baselines.model_validate_json(read_evaluation_file(artifacts, stored, BASELINES_FILE))
    except EvaluationNotFound:
        baselines = None
    values: dict[str, Any] = {"version": version, "evaluation": evaluation, "report": None, "rows": [], "columns": []}
    values |= {"further": _list_further(stored), "datasets": list_dataset_names()}
    values |= {"baselines": baselines, "data": {"model": version.model, "number": version.version}}
    if evaluation is not None and evaluation.classification is not None:
        answers = TestPredictions.from_bytes(read_evaluation_file(artifacts, stored, ANSWERS_FILE))
        values |= _describe_classes(version.classes, evaluation.classification, answers)
        values |= _list_rows(stored, version.classes, answers)
        values["columns"] = [name for name, _ in list_input_columns(version)][:MAX_COLUMNS]
        values["text_column"] = next(iter(version.columns), "text")
    return render("models/evaluation.html", "web.show_models", script="pages/evaluation.js", **values)


def _list_further(version: Version) -> list[tuple[str, FurtherEvaluation]]:
    """Return the evaluations on other rows, with their keys."""
    keys = sorted((key, file.sha256) for file in version.files if (key := find_key(file.name)) is not None)
    read = services().artifacts.read
    return [(key, FurtherEvaluation.model_validate_json(read(digest))) for key, digest in keys]


def _describe_classes(classes: list[str], report: ClassificationReport, answers: TestPredictions) -> dict[str, Any]:
    """Return the matrix of the classes that are most confused, the most frequent mistakes, and the calibration."""
    selected, matrix = report.select_confusion(MAX_MATRIX_CLASSES)
    support = [max(1, report.classes[index].support) for index in selected]
    wrong = {(i, j) for i in range(len(selected)) for j in range(len(selected)) if i != j and matrix[i][j]}
    worst = max((matrix[i][j] / support[i] for i, j in wrong), default=0)
    cells = [
        [
            Cell(
                int(count),
                count / support[i],
                max(1, round(HEAT_STEPS * sqrt(count / support[i] / worst))) if (i, j) in wrong else 0,
            )
            for j, count in enumerate(row)
        ]
        for i, row in enumerate(matrix)
    ]
    mistakes = sorted(((cells[i][j], i, j) for i, j in wrong), key=lambda found: (-found[0].count, found[1:]))
    return {
        "report": report,
        "matrix_classes": [classes[index] for index in selected],
        "cells": cells,
        "is_part": len(selected) < len(classes),
        "confusions": [(classes[selected[i]], classes[selected[j]], cell) for cell, i, j in mistakes[:MAX_CONFUSIONS]],
        "bins": answers.list_calibration_bins(),
    }


def _list_rows(version: Version, classes: list[str], answers: TestPredictions) -> dict[str, Any]:
    """Return the rows of the chosen cell, or the surest mistakes. Raises InvalidRequest for an unknown class."""
    true, predicted = request.args.get("true"), request.args.get("predicted")
    is_diagonal = true is not None and true == predicted
    given = {
        "true": true,
        "predicted": predicted,
        "right": None if true is not None and predicted is not None else False,
        "sort": RowOrder.DOUBT if is_diagonal else RowOrder.CONFIDENCE,
    }
    filters = validate(RowsFilter, given, "query")
    chosen = select_rows(answers, classes, filters)
    rows = describe_rows(version, answers, services().read_kept_rows(version), chosen[:MAX_TILES].tolist())
    return {"rows": rows, "total": len(chosen), "chosen_true": true, "chosen_predicted": predicted}
