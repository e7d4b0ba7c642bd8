"""`python -m worker`: one training at a time, from the queues that this machine can serve."""

from celery import signals

from worker.app import be_listed, celery, prepare_child, queues, scratch, worker_name

if __name__ == "__main__":
    # Not in worker/app.py: the scheduler would hear the signals as well, import TensorFlow for nothing, and be listed.
    signals.worker_process_init.connect(prepare_child)
    signals.worker_ready.connect(be_listed)
    scratch.open()
    celery.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            f"--queues={','.join(queues)}",
            f"--hostname={worker_name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
