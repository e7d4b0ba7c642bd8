"""Serve the API with granian. Usage: `python -m api`."""

import resource
import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from api.http.wsgi.slow_clients import MAX_CONNECTIONS
from shared import logs
from shared.settings import Settings

OPEN_TO_OTHERS = (
    "trainyard: other machines would reach the API on {address}, and everybody could do everything. Write "
    "TRAINYARD_AUTH=keys into .env, so that people sign in; or TRAINYARD_AUTH=off, if you trust who reaches it."
)

if __name__ == "__main__":
    settings = Settings()
    if settings.is_open_to_others:
        sys.exit(OPEN_TO_OTHERS.format(address=settings.published_on or settings.host))
    logs.configure_logging(settings.log_level)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # each connection is an open file
    Granian(
        "api.wsgi:warm_app",
        factory=True,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,  # no client needs HTTP/2 without encryption
        address=settings.host,
        port=settings.port,
        # Further threads wait for bodies and send streams. The server starts threads only when they are needed.
        blocking_threads=3 * settings.api_threads,
        backpressure=MAX_CONNECTIONS,
        respawn_failed_workers=True,
        ssl_cert=settings.tls_certificate,
        ssl_key=settings.tls_key,
        log_enabled=False,  # granian uses the root logger, which is configured above
    ).serve()
