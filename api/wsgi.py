"""Create the API: `api.wsgi:app` for any WSGI server, `api.wsgi:warm_app` for a server that calls a factory."""

import atexit
import contextlib
import gc
import os
import secrets
import socket

gc.disable()  # imported modules are never garbage, and collections would take a sixth of the start

from typing import cast  # noqa: E402

from flask import Flask  # noqa: E402

from shared.settings import Settings  # noqa: E402
from shared.system import limit_arenas, limit_image_libraries  # noqa: E402

settings = Settings()
limit_image_libraries(settings.max_image_pixels)

from api.app import create_app  # noqa: E402
from api.services import EXTENSION, Services  # noqa: E402
from shared import logs  # noqa: E402
from shared.jobs.broker import BrokerUnreachable  # noqa: E402
from shared.storage.scratch import Scratch  # noqa: E402

limit_arenas(os.cpu_count() or 1)
logs.configure_logging(settings.log_level)
scratch = Scratch(settings.data_dir / "scratch", f"api-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
app = create_app(settings)
gc.freeze()  # later collections skip all objects that exist now
gc.enable()


def warm_app() -> Flask:
    """Return the app after it has done the slow work that the first request would wait for."""
    services = cast(Services, app.extensions[EXTENSION])
    scratch.open()
    scratch.enter()
    atexit.register(scratch.close)
    services.planner.start()
    services.decoder.start()
    services.reader.start()
    services.clients.watch(settings.port)
    with contextlib.suppress(BrokerUnreachable):  # the first use of the notifier imports Celery
        services.notifier.ping()
    return app
