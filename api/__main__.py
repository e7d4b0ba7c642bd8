"""`python -m api`: serves the API with granian."""

from granian import Granian
from granian.constants import Interfaces

from shared import logs
from shared.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    logs.configure(settings.log_level)
    Granian(
        "api.wsgi:warm_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        blocking_threads=settings.api_threads,
        backpressure=settings.api_threads,
        respawn_failed_workers=True,
        log_enabled=False,  # the root logger has it
    ).serve()
