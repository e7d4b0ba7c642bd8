"""Sign in, accept an invitation, and show one's keys, the users and the audit log."""

from datetime import timedelta
from urllib.parse import urlencode

from flask import Response, make_response, redirect, request, url_for

from api.access import identity_sign_in
from api.access.callers import get_signed_in
from api.access.identity_sign_in import check_provider
from api.documents.access import format_quotas, format_users
from api.http.pagination import NUMBER_KEY, make_next_cursor, parse_page
from api.services import services
from api.web import words
from api.web.rendering import render
from shared.access import audit, invitations, keys, projects, users
from shared.access.keys import DEFAULT_DAYS
from shared.access.rights import SCOPES_OF_ROLE, Role, sort_scopes
from shared.jobs.quotas import WINDOW_DAYS, Subject
from shared.jobs.usage import list_use

PAGE_LENGTH = 50
MAX_USERS = 1000


def show_sign_in() -> Response:
    """Show the form with which a browser signs in."""
    return render(
        "access/sign_in.html",
        script="pages/sign_in.js",
        script_words=("access.script.",),
        provider=services().identity_provider,
    )


def finish_sign_in() -> Response:
    """Sign in who comes back from the OpenID provider."""
    response = identity_sign_in.finish(check_provider(services().identity_provider), services().sessions)
    services().gate.forget()
    return response


def show_join() -> Response:
    """Show the page of an invitation. Its token stands behind `#` in the address, which no browser sends."""
    return render(
        "access/join.html",
        script="pages/join.js",
        script_words=("access.script.",),
        provider=services().identity_provider,
    )


def show_account() -> Response:
    """Show the keys of the caller. Raises AccessIsOff where nobody signs in."""
    caller = get_signed_in()
    with services().sessions() as session:
        time = users.read_clock(session)
        found = keys.list_keys(session, caller.login)
        limits = format_quotas(session, Subject("user", caller.login))
        user = users.get_user(session, caller.login)
    return render(
        "access/account.html",
        script="pages/account.js",
        script_words=("access.script.",),
        caller=caller,
        user=user,
        provider=services().identity_provider,
        scopes=sort_scopes(caller.scopes),
        keys=found,
        limits=limits,
        window=WINDOW_DAYS,
        time=time,
        days=DEFAULT_DAYS,
    )


def show_people() -> Response:
    """Show the users and the open invitations, to an admin."""
    with services().sessions() as session:
        found = format_users(session, users.list_users(session, "", MAX_USERS))
        invited = invitations.list_invitations(session, None)
    return render(
        "access/people.html",
        script="pages/people.js",
        script_words=("access.script.",),
        users=found,
        invited=invited,
        roles=list(Role),
        scopes_of_role={role: sort_scopes(scopes) for role, scopes in SCOPES_OF_ROLE.items()},
    )


def show_person(login: str) -> Response:
    """Show a user with its quotas and what it has used, to an admin. Raises UserNotFound."""
    subject = Subject("user", login)
    with services().sessions() as session:
        (found,) = format_users(session, [users.get_user(session, login)])
        limits = format_quotas(session, subject)
        used = list_use(session, users.read_clock(session) - timedelta(days=WINDOW_DAYS), subject.owns)
    return render(
        "access/person.html", script="pages/person.js", user=found, limits=limits, used=used, days=WINDOW_DAYS
    )


def show_projects() -> Response:
    """Show the projects of the caller; all of them to an admin. Raises AccessIsOff where nobody signs in."""
    caller = get_signed_in()
    with services().sessions() as session:
        found = projects.list_projects(session, None if caller.sees_all else caller.roles)
    return render(
        "access/projects.html",
        "web.show_projects",
        script="pages/projects.js",
        projects=found,
        caller=caller,
    )


def show_project(project: str) -> Response:
    """Show who is in a project. Raises AccessIsOff where nobody signs in, or ProjectNotFound."""
    caller = get_signed_in()
    managed = caller.list_managed()
    may_manage = managed is None or project in managed
    with services().sessions() as session:
        found = projects.get_project(session, project, None if caller.sees_all else caller.roles)
        members = projects.list_members(session, found.name)
        invited = invitations.list_invitations(session, [found.name]) if may_manage else []
        subject = Subject("project", found.name)
        limits = format_quotas(session, subject)
        since = users.read_clock(session) - timedelta(days=WINDOW_DAYS)
        used = list_use(session, since, subject.owns) if may_manage else []
    return render(
        "access/project.html",
        "web.show_projects",
        script="pages/project.js",
        script_words=("access.script.",),
        project=found,
        members=members,
        invited=invited,
        caller=caller,
        may_manage=may_manage,
        limits=limits,
        used=used,
        days=WINDOW_DAYS,
        roles=[role for role in Role if role is not Role.ADMIN],
    )


def show_audit() -> Response:
    """Show a page of the audit log, to an admin."""
    page = parse_page(PAGE_LENGTH, request.args.get("cursor"), NUMBER_KEY)
    given = {name: request.args.get(name, "")[:300] for name in ("actor", "action", "object")}
    filters = audit.AuditFilters(**{name: text or None for name, text in given.items()})
    with services().sessions() as session:
        events = audit.list_events(session, filters, page.after[0] if page.after else None, page.limit)
    cursor = make_next_cursor(page, [(event.id,) for event in events])
    following = f"{url_for('web.show_audit')}?{urlencode({'cursor': cursor or '', **given})}"
    language = words.choose_language()
    return render(
        "access/audit.html",
        script="pages/times.js",
        events=events,
        given=given,
        actions=words.list_words(language, "access.audit.action."),
        kinds=words.list_words(language, "access.audit.kind."),
        next_page=following if cursor else None,
    )


def ask_to_sign_in() -> Response:
    """Send a browser that is not signed in to the form, which leads back to the page that was asked for."""
    wanted = request.full_path.rstrip("?") if request.method == "GET" else url_for("web.show_home")
    query = urlencode({"next": wanted})
    return make_response(redirect(f"{url_for('web.show_sign_in')}?{query}", 303))
