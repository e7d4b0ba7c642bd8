"""Define the Celery app and its task names, and notify workers of queued jobs. A message carries no job."""

import functools
import logging
from typing import TYPE_CHECKING, Any

from shared.devices import Device, list_queues

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

logger = logging.getLogger(__name__)

TRAIN = "trainyard.train"
RECONCILE = "trainyard.reconcile"
TIDY = "trainyard.tidy"
MAINTENANCE_QUEUE = "maintenance"
MAX_NOTIFICATIONS = 100
"""Maximum number of messages in one queue: without a worker, messages would pile up, and they are all the same."""
CONNECT_SECONDS = 2


class BrokerUnreachable(Exception):
    """Redis cannot be reached, or does not answer in time."""


def make_celery(redis_url: str) -> "Celery":
    """Build a Celery app without tasks that uses Redis as its broker."""
    from celery import Celery  # the import takes 0.2 s: the API starts without it

    celery = Celery("trainyard", broker=redis_url, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": 10},
        task_acks_late=False,  # with late acks, Redis repeats a message during a long job; a lost one costs nothing
        task_ignore_result=True,
        task_serializer="json",
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    return celery


class JobNotifier:
    """A client of Redis that wakes workers. The jobs themselves are in the database."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    def notify(self, device: Device) -> None:
        """Wake one idle worker of each queue that serves this device.

        If Redis is unreachable, only log it: the scheduler and the workers notify again later.
        """
        try:
            self._notify(list_queues(device))
        except BrokerUnreachable as error:
            logger.warning("workers not notified: %s", error)

    def ping(self) -> None:
        """Check that Redis answers. Raises BrokerUnreachable."""
        self._notify(())

    def _notify(self, queues: tuple[str, ...]) -> None:
        from kombu.exceptions import OperationalError

        connection = self._celery.connection_for_write(connect_timeout=CONNECT_SECONDS)
        try:
            with connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS):
                for queue in queues:
                    if _count_notifications(queue, connection) < MAX_NOTIFICATIONS:
                        self._celery.send_task(TRAIN, queue=queue, connection=connection, retry=False)
        except (OperationalError, OSError) as error:
            raise BrokerUnreachable(f"Redis is unreachable: {error}") from error

    @functools.cached_property
    def _celery(self) -> "Celery":
        return make_celery(self._redis_url)


def _count_notifications(queue: str, connection: "Connection") -> int:
    from amqp.exceptions import ChannelError

    channel: Any = connection.default_channel  # celery-types does not declare all of its methods
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # the queue does not exist yet
        return 0
