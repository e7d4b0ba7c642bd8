"""Test that a training process keeps nothing of its jobs."""

from flask.testing import FlaskClient
from tensorflow.python.eager import context

from tests.support.examples import IRIS
from tests.support.worker import InProcessWorker
from worker.process.memory import trim_memory


def test_no_graph_of_a_job_is_kept(http: FlaskClient, worker: InProcessWorker) -> None:
    kept = []
    for _ in range(3):
        http.post("/api/v1/jobs", json=IRIS)
        worker.run_next()
        trim_memory()
        kept.append(len(context.context().list_function_names()))

    assert kept[1:] == [kept[0]] * 2
