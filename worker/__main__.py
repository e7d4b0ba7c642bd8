"""Run a worker (`python -m worker`). It runs one job at a time, from the queues that its machine can serve."""

from shared.settings import Settings
from worker.app import Worker, create_celery
from worker.lifecycle import connect_worker

if __name__ == "__main__":
    worker = Worker(Settings())
    connect_worker(worker)
    worker.scratch.open()
    create_celery(worker).worker_main(
        [
            "--quiet",
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            f"--queues={','.join(worker.queues)}",
            f"--hostname={worker.name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
