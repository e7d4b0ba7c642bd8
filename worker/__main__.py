"""Run a worker (`python -m worker`). It runs jobs from the queues that its machine can serve."""

from shared.settings import Settings
from shared.system import limit_image_libraries

if __name__ == "__main__":
    settings = Settings()
    limit_image_libraries(settings.max_image_pixels)

    from worker.app import Worker, create_celery
    from worker.lifecycle import connect_worker

    worker = Worker(settings)
    connect_worker(worker)
    worker.scratch.open()
    worker.processes.start()
    create_celery(worker).worker_main(
        [
            "--quiet",
            "worker",
            f"--concurrency={len(worker.slots)}",
            f"--queues={','.join(worker.queues)}",
            f"--hostname={worker.name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
