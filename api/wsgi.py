"""Entry point of the API: `api.wsgi:app` for any WSGI server, `api.wsgi:warm_app` for one that calls a factory."""

import contextlib
import gc
import os

gc.disable()  # what is imported stays for ever: looking through it for garbage would be a sixth of the start

from typing import cast  # noqa: E402

from flask import Flask  # noqa: E402

from api.app import create_app  # noqa: E402
from api.services import EXTENSION, Services  # noqa: E402
from shared import logs  # noqa: E402
from shared.jobs.broker import BrokerUnreachable  # noqa: E402
from shared.settings import Settings  # noqa: E402
from shared.system import limit_arenas  # noqa: E402

limit_arenas(os.cpu_count() or 1)
settings = Settings()
logs.configure_logging(settings.log_level)
app = create_app(settings)
gc.freeze()
gc.enable()


def warm_app() -> Flask:
    """With all that the first request would otherwise have to wait for."""
    services = cast(Services, app.extensions[EXTENSION])
    services.planner.start()
    services.readers.watch(settings.port)
    with contextlib.suppress(BrokerUnreachable):  # the bell imports Celery when it is first used
        services.notifier.ping()
    return app
