"""Clean up now, `python -m worker.tidy`: what the scheduler does every few minutes."""

from shared import logs
from shared.settings import Settings
from worker.app import Worker

if __name__ == "__main__":
    settings = Settings()
    logs.configure_logging(settings.log_level)
    Worker(settings).clean_up()
