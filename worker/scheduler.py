"""Run the scheduler (`python -m worker.scheduler`): Celery beat, and the process that runs its tasks.

The tasks run in this process and not in a worker, so that they never wait for a training to end.
"""

from shared.jobs.broker import MAINTENANCE_QUEUE
from shared.settings import Settings
from worker.app import Worker, create_celery
from worker.lifecycle import connect_scheduler

if __name__ == "__main__":
    worker = Worker(Settings())
    connect_scheduler(worker)
    create_celery(worker).worker_main(
        [
            "--quiet",
            "worker",
            "--beat",
            "--scheduler=celery.beat:Scheduler",  # the default scheduler would write the schedule to a file
            "--pool=solo",
            f"--queues={MAINTENANCE_QUEUE}",
            f"--hostname=scheduler-{worker.name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
