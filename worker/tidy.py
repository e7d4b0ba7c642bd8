"""`python -m worker.tidy`: does at once what the scheduler does every few minutes."""

from worker.app import configure_logging, tidy_up

if __name__ == "__main__":
    configure_logging()
    tidy_up()
