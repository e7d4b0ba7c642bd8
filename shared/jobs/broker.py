"""Celery, as both sides use it: the names of its tasks, and ringing the bell. A bell carries no job."""

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
"""In one queue: nobody may be listening there, and one bell is as good as many."""
CONNECT_SECONDS = 2


class BrokerUnreachable(Exception):
    """Redis does not answer."""


def make_celery(redis_url: str) -> "Celery":
    from celery import Celery  # a fifth of a second that the API need not spend before it serves

    celery = Celery("trainyard", broker=redis_url, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": 10},
        task_acks_late=False,  # on Redis, late acks would train a long job twice
        task_ignore_result=True,
        task_serializer="json",
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    return celery


class JobNotifier:
    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    def notify(self, device: Device) -> None:
        """Says "there is work" where it may be taken. A broker that is down costs nothing: it is rung again later."""
        try:
            self._notify(list_queues(device))
        except BrokerUnreachable as error:
            logger.warning("bell not rung: %s", error)

    def ping(self) -> None:
        """Raises BrokerUnreachable."""
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
            raise BrokerUnreachable(f"Redis is out of reach: {error}") from error

    @functools.cached_property
    def _celery(self) -> "Celery":
        return make_celery(self._redis_url)


def _count_notifications(queue: str, connection: "Connection") -> int:
    from amqp.exceptions import ChannelError

    channel: Any = connection.default_channel  # celery-types knows less of it than there is
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # not there yet
        return 0
