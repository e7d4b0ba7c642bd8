"""Test the list of the rows of a data set, and their images."""

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.images import encoded
from tests.support.problems import assert_problem
from tests.support.uploads import npz, upload_dataset, zipped

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def read_png(content: bytes) -> np.ndarray:
    """Decode a PNG to (height, width[, 3]) uint8, RGB."""
    image = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
    return image[..., ::-1] if image.ndim == 3 else image


def test_images_of_a_class_and_a_part_are_listed_and_shown(http: FlaskClient) -> None:
    red, blue = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    files = {f"train/red/{row}.png": encoded(red) for row in range(3)}
    files |= {f"{part}/blue/{row}.png": encoded(blue) for part in ("train", "test") for row in range(2)}
    upload_dataset(http, zipped(dict(files.items())), "colors")

    everything = http.get("/api/v1/datasets/colors/rows").json
    tests = http.get("/api/v1/datasets/colors/rows?part=test&class=blue").json
    first = http.get("/api/v1/datasets/colors/rows?class=red&limit=2").json

    assert (everything["total"], tests["total"], first["total"]) == (7, 2, 3)
    assert {(row["part"], row["label"]) for row in tests["rows"]} == {("test", "blue")}
    following = http.get(f"/api/v1/datasets/colors/rows?class=red&limit=2&cursor={first['next']}").json
    assert len(first["rows"] + following["rows"]) == 3
    picture = http.get(first["rows"][0]["image"] + "?side=32")
    image = read_png(picture.data)
    assert image.shape == (32, 32, 3)
    assert image[16, 16].tolist() == [255, 0, 0]
    assert image[2, 16].tolist() == [128, 128, 128]
    assert "immutable" in picture.headers["Cache-Control"]
    assert http.get("/api/v1/datasets/colors/rows/0.png").headers["Cache-Control"] == "no-cache"
    assert_problem(http.get("/api/v1/datasets/colors@1/rows/7.png"), 404, "file-not-found")
    assert http.get("/api/v1/datasets/colors/rows?class=green").status_code == 422
    assert_problem(http.get("/api/v1/datasets/nothing/rows"), 404, "dataset-not-found")


def test_rows_of_a_table_have_the_cells_that_were_sent(http: FlaskClient) -> None:
    upload_dataset(http, "도시,n,y\n서울,1.5,2\n부산,2,4\n".encode(), "cities", columns='{"도시": "one-hot"}')

    rows = http.get("/api/v1/datasets/cities/rows").json["rows"]

    assert [(row["values"], row["label"], row["image"]) for row in rows] == [
        (["서울", 1.5], "2", None),
        (["부산", 2.0], "4", None),
    ]
    assert http.get("/api/v1/datasets/cities/rows?class=4").json["total"] == 1
    assert_problem(http.get("/api/v1/datasets/cities@1/rows/0.png"), 404, "file-not-found")


def test_arrays_and_several_labels_are_shown(http: FlaskClient) -> None:
    images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4)
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]])
    upload_dataset(http, npz(x=images, y=labels, classes=np.array(["a", "b", "c"])), "tags")

    rows = http.get("/api/v1/datasets/tags/rows").json["rows"]

    assert [row["label"] for row in rows] == ["a, c", "b", "", "a, b, c"]
    assert http.get("/api/v1/datasets/tags/rows?class=b").json["total"] == 2
    assert np.array_equal(read_png(http.get(rows[1]["image"] + "?side=8").data)[::2, ::2], images[1])


@pytest.mark.parametrize("name", ["mnist", "iris"])
def test_samples_of_built_in_data_are_listed(http: FlaskClient, name: str) -> None:
    rows = http.get(f"/api/v1/datasets/{name}/rows?limit=5").json["rows"]

    assert len(rows) == 5
    if rows[0]["image"] is not None:
        assert read_png(http.get(rows[0]["image"]).data).shape == (96, 96)
    else:
        assert len(rows[0]["values"]) == 4


def test_the_pixels_of_a_row_are_told(http: FlaskClient) -> None:
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    upload_dataset(http, zipped({"a/0.png": encoded(image), "b/0.png": encoded(image[:2])}), "small")
    upload_dataset(http, b"a,b,kind\n1,2,cat\n3,4,dog\n", "table")

    uploaded = http.get("/api/v1/datasets/small@1/rows/0").json
    digit = http.get("/api/v1/datasets/digits/rows/0").json
    row = http.get("/api/v1/datasets/table/rows/1").json

    assert (uploaded["shape"], uploaded["label"]) == ([5, 7, 3], "a")
    assert np.array_equal(uploaded["pixels"], image)
    assert tuple(digit["shape"]) == np.shape(digit["pixels"]) == (8, 8, 1)
    assert (row["shape"], row["pixels"], row["values"]) == ([2], None, [3, 4])
    assert_problem(http.get("/api/v1/datasets/table/rows/2"), 404, "file-not-found")


def test_a_table_is_drawn_as_points_in_a_plane_and_in_space(http: FlaskClient) -> None:
    rows = "\n".join(f"{row},{row % 7},{'남' if row % 2 else '여'},{row * 1.5}" for row in range(40))
    columns = {"columns": '{"sex": "one-hot"}', "task": "regression"}
    upload_dataset(http, f"weight,나이,sex,fat\n{rows}".encode(), "fat", **columns)
    path = "/api/v1/datasets/fat/scatter.svg"

    plane = http.get(path)
    space = http.get(f"{path}?x=나이&y=weight&z=fat&theme=dark")
    (fault,) = assert_problem(http.get(f"{path}?x=sex"), 422, "invalid-request")["errors"]

    assert (plane.status_code, plane.mimetype, space.status_code) == (200, "image/svg+xml", 200)
    assert plane.data != space.data
    assert http.get(path, headers={"If-None-Match": plane.headers["ETag"]}).status_code == 304
    assert "#/x" in fault["pointer"]
    assert all(name in fault["detail"] for name in ("weight", "나이", "fat"))
    assert http.get("/api/v1/datasets/iris/scatter.png?x=column 2&y=column 3&z=column 0").mimetype == "image/png"
    assert_problem(http.get("/api/v1/datasets/digits/scatter.png"), 404, "picture-not-found")
