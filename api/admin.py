"""Invite users from the machine of the service. Usage: `python -m api.admin invite ada --role admin`."""

import argparse
import sys
from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from shared.access import invitations, users
from shared.access.audit import Actor
from shared.access.invitations import Guest
from shared.access.rights import DEFAULT_PROJECT, Role
from shared.database.engine import make_engine, make_sessions
from shared.errors import ServiceError
from shared.settings import Settings

ACTOR = Actor("command line", "command")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api.admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    invite = commands.add_parser("invite", help="print a link with which a person becomes a user")
    invite.add_argument("login", help=users.LOGIN_RULE)
    invite.add_argument("--name", default="", help="the name of the person")
    invite.add_argument("--project", default=DEFAULT_PROJECT, help="the project that the person joins")
    invite.add_argument("--role", choices=[role.value for role in Role], default=Role.MEMBER.value)
    reset = commands.add_parser("reset", help="print a link with which a user gets a new key; the old keys end then")
    reset.add_argument("login")
    for command in (invite, reset):
        command.add_argument("--hours", type=float, default=1.0, help="how long the link is valid (default: 1)")
        command.add_argument("--url", help="the address of the service as the person reaches it")
    arguments = parser.parse_args()
    if arguments.url and "://" not in arguments.url:
        sys.exit(f"trainyard: --url is {arguments.url!r}, and must begin with http:// or https://.")
    settings = Settings()
    try:
        token = _make_link(settings, arguments)
    except (ServiceError, SQLAlchemyError, ValueError) as error:
        sys.exit(f"trainyard: {error}")
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    address = (arguments.url or f"{settings.scheme}://{host}:{settings.port}").rstrip("/")
    print(f"{address}/ui/join#{token}")
    if settings.auth == "off":
        print("trainyard: TRAINYARD_AUTH is off, so that nobody needs this link.", file=sys.stderr)


def _make_link(settings: Settings, arguments: argparse.Namespace) -> str:
    """Return the token of a new link. Raises ValueError for what cannot be, and ServiceError."""
    if not 0 < arguments.hours <= invitations.DEFAULT_HOURS:
        raise ValueError(f"--hours must be more than 0 and at most {invitations.DEFAULT_HOURS}.")
    url = make_url(settings.database_url)
    is_missing = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
    if is_missing or not inspect(engine := make_engine(url)).has_table("users"):
        raise ValueError(
            f"there is no database of Trainyard at {url.render_as_string()}. Start the service first, and use its "
            "settings here too, such as TRAINYARD_DATA_DIR."
        )
    sessions = make_sessions(engine)
    with sessions.begin() as session:
        if arguments.command == "reset":
            made = invitations.reset(session, ACTOR, arguments.login, arguments.hours)
        else:
            if users.LOGIN.fullmatch(arguments.login) is None:
                raise ValueError(f"A login must have {users.LOGIN_RULE}.")
            guest = Guest(arguments.login, arguments.name, Role(arguments.role), project=arguments.project)
            (made,) = invitations.invite(session, ACTOR, [guest], arguments.hours)
    if made.token is None:
        raise ValueError(f"{arguments.login!r} is a user already. `reset` makes a link for a new key.")
    return made.token


if __name__ == "__main__":
    main()
