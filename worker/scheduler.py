"""`python -m worker.scheduler`: Celery beat, and the process that does what beat asks for, so that it never waits
behind a training."""

from shared.jobs.broker import MAINTENANCE_QUEUE
from worker.app import celery, worker_name

if __name__ == "__main__":
    celery.worker_main(
        [
            "--quiet",
            "worker",
            "--beat",
            "--scheduler=celery.beat:Scheduler",  # its schedule stands in the code: nothing to keep in a file
            "--pool=solo",
            f"--queues={MAINTENANCE_QUEUE}",
            f"--hostname=scheduler-{worker_name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
