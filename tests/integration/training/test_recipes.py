"""Test that every recipe can be planned, and train the recipes that take only seconds."""

import io

import pytest
from flask.testing import FlaskClient

from api.documents.recipes import parse_upload_fields
from tests.support.databases import ROOT
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
YAML_TYPE = "application/yaml"
PARAMETERS = {
    "blood-fat": 3,
    "breast-cancer": 31,
    "cifar10-cnn": 571_770,
    "cifar10-mlp": 1_578_506,
    "diabetes": 221,
    "fashion-dropout-best": 79_510,
    "fashion-mlp-300-100": 266_610,
    "fashion-sigmoid": 79_510,
    "mnist-cnn": 910_222,
    "thoracic": 571,
}
TABLES = {
    "x09.csv": "index,one,weight,age,blood_fat\n1,1,84,46,354\n2,1,73,20,190\n",
    "pima-indians-diabetes.csv": "6,148,72,35,0,33.6,0.627,50,1\n1,85,66,29,0,26.6,0.351,31,0\n" * 10,
    "ThoraricSurgery.csv": "".join(",".join([str(row)] * 17) + f",{row % 2}\n" for row in range(20)),
}
"""File name → a short file with the columns of the file that the recipe uploads."""


def read_recipe(name: str) -> bytes:
    return (ROOT / "recipes" / f"{name}.yaml").read_bytes()


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "recipes").glob("*.yaml"))])
def test_a_recipe_can_be_planned_unchanged(http: FlaskClient, name: str) -> None:
    if fields := parse_upload_fields((ROOT / "recipes" / f"{name}.yaml").read_text()):
        (file,) = fields.pop("file")
        form = {**fields, "file": (io.BytesIO(TABLES[file].encode()), file)}
        assert http.post("/api/v1/datasets", data=form).status_code == 201
    plan = http.post("/api/v1/jobs?dry_run=true", data=read_recipe(name), content_type=YAML_TYPE)

    assert plan.status_code == 200, plan.text
    assert plan.json["parameters"] == PARAMETERS.get(name, plan.json["parameters"])


def test_trained_gates_and_lines_predict_correctly(http: FlaskClient, worker: InProcessWorker) -> None:
    for name in ("line", "line-10x-plus-2", "and"):
        http.post("/api/v1/jobs", data=read_recipe(name), content_type=YAML_TYPE)
    worker.run_all()

    def predict(name: str, instances: list[object]) -> list[dict[str, object]]:
        answer = http.post(f"/api/v1/models/{name}/predictions", json={"instances": instances})
        predictions: list[dict[str, object]] = answer.json["predictions"]
        return predictions

    assert [answer["value"] for answer in predict("line", [10, 20])] == pytest.approx([8.6667, 16.1667], abs=0.01)
    (prediction,) = predict("line-10x-plus-2", [2])
    assert prediction["value"] == pytest.approx([22, 22], abs=0.5)
    assert [answer["label"] for answer in predict("and", [[0, 0], [0, 1], [1, 0], [1, 1]])] == ["0", "0", "0", "1"]
