"""Clean up once (`python -m worker.tidy`), as the scheduler does regularly."""

from shared import logs
from shared.settings import Settings
from worker.app import Worker

if __name__ == "__main__":
    settings = Settings()
    logs.configure_logging(settings.log_level)
    Worker(settings).clean_up()
