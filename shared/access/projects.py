"""Create, change and list projects, and the roles of users in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.rights import Role
from shared.access.users import read_clock
from shared.database.tables.access import Invitation, Member, Project, User
from shared.database.tables.base import Document
from shared.errors import ProjectArchived, ProjectNotFound, UserNotFound, suggest


@dataclass(frozen=True)
class Standing:
    """What a user is: an admin, or somebody with a role in some projects.

    Attributes:
        roles: the roles by project, the project that the user joined first at the beginning. Members of an archived
            project are viewers there.
        archived: those of these projects that are archived.
    """

    is_admin: bool
    roles: Mapping[str, Role]
    archived: frozenset[str] = frozenset()

    def list_roles(self) -> list[Role]:
        """Return the roles of the user, each once, from the fewest rights to the most."""
        own = {Role.ADMIN} if self.is_admin else set(self.roles.values())
        return [role for role in Role if role in own]


def find_standing(session: Session, user: User) -> Standing:
    """Return what a user is."""
    mine = select(Member.project, Member.role, Project.archived_at).join(Project, Project.name == Member.project)
    mine = mine.where(Member.login == user.login).order_by(Member.created_at, Member.project)
    rows = session.execute(mine).all()
    roles = {row.project: Role(row.role) if row.archived_at is None else Role.VIEWER for row in rows}
    return Standing(user.is_admin, roles, frozenset(row.project for row in rows if row.archived_at is not None))


def list_roles(session: Session, logins: Sequence[str]) -> dict[str, dict[str, Role]]:
    """Return the roles of some users by login and project."""
    found: dict[str, dict[str, Role]] = {login: {} for login in logins}
    query = select(Member).where(Member.login.in_(logins)).order_by(Member.created_at, Member.project)
    for member in session.scalars(query):
        found[member.login][member.project] = Role(member.role)
    return found


def get_project(session: Session, name: str, visible: Mapping[str, Role] | None) -> Project:
    """Return a project. `visible` are the projects of who asks; None for all. Raises ProjectNotFound."""
    project = session.get(Project, name) if visible is None or name in visible else None
    if project is None:
        known = list_projects(session, visible)
        raise ProjectNotFound(f"There is no project {name!r}.{suggest(name, [one.name for one in known])}")
    return project


def check_open(project: Project) -> None:
    """Check that a project is not archived. Raises ProjectArchived."""
    if project.archived_at is not None:
        raise ProjectArchived(
            f"The project {project.name!r} is archived: it can only be read. An admin opens it again with DELETE "
            f"/api/v1/projects/{project.name}/archive."
        )


def list_projects(session: Session, visible: Mapping[str, Role] | None) -> list[Project]:
    """Return projects by name. `visible` are the projects of who asks; None for all."""
    query = select(Project).order_by(Project.name)
    if visible is not None:
        query = query.where(Project.name.in_(visible))
    return list(session.scalars(query))


def put_project(session: Session, actor: Actor, name: str, description: str | None) -> tuple[Project, bool]:
    """Create a project, or describe one. Returns it, and whether it is new. None leaves the description."""
    count_change(session)  # of two who create one project, the second waits here
    project = session.get(Project, name)
    if project is None:
        project = Project(name=name, description=description or "")
        session.add(project)
        session.flush()
        record(session, actor, "project-created", "project", name)
        return project, True
    if description is not None and description != project.description:
        record(session, actor, "project-described", "project", name)
        project.description = description
    return project, False


def set_archived(session: Session, actor: Actor, project: Project, *, archived: bool) -> None:
    """Archive a project, so that its members can only read, or open it again. A second call has no effect."""
    count_change(session)
    if archived == (project.archived_at is not None):
        return
    project.archived_at = read_clock(session) if archived else None
    if archived:
        unused = delete(Invitation).where(Invitation.project == project.name, Invitation.used_at.is_(None))
        session.execute(unused)
    record(session, actor, "project-archived" if archived else "project-opened", "project", project.name)


def list_members(session: Session, project: str) -> list[tuple[Member, User]]:
    """Return the members of a project with their users, by login."""
    query = select(Member, User).join(User, User.login == Member.login).where(Member.project == project)
    return [(member, user) for member, user in session.execute(query.order_by(Member.login))]


def list_leavers(session: Session, project: str) -> list[str]:
    """Return the members of a project who are in no project that is not archived; neither maintainers nor admins."""
    others = select(Member.login).join(Project, Project.name == Member.project)
    others = others.where(Member.project != project, Project.archived_at.is_(None))
    mine = select(Member.login).join(User, User.login == Member.login).where(Member.project == project)
    mine = mine.where(Member.role != Role.MAINTAINER, ~User.is_admin, Member.login.not_in(others))
    return list(session.scalars(mine.order_by(Member.login)))


def set_member(session: Session, actor: Actor, project: str, login: str, role: Role) -> Member:
    """Give a user a role in a project. `role` is not ADMIN. Raises UserNotFound or ProjectArchived."""
    count_change(session)
    if session.get(User, login) is None:  # no suggestion: who may invite does not see all users
        raise UserNotFound(f"There is no user {login!r}. Invite the person first.")
    check_open(session.get_one(Project, project))
    member = session.get(Member, (project, login))
    before: Document | None = None
    if member is None:
        member = Member(project=project, login=login, role=role)
        session.add(member)
    else:
        before = {"role": member.role}
        member.role = role
    session.flush()
    _end_links(session, project, login, role)
    if before != {"role": role}:
        record(session, actor, "member-changed", "member", f"{project}/{login}", before=before, after={"role": role})
    return member


def remove_member(session: Session, actor: Actor, project: str, login: str) -> None:
    """Remove a user from a project. What it made stays. A second call has no effect."""
    count_change(session)
    member = session.get(Member, (project, login))
    if member is not None:
        session.delete(member)
        _end_links(session, project, login, None)
        record(session, actor, "member-removed", "member", f"{project}/{login}", before={"role": member.role})


def _end_links(session: Session, project: str, login: str, role: Role | None) -> None:
    """Delete the unused invitations to a project of somebody who may not invite there, which an admin always may."""
    if role is not Role.MAINTAINER and not session.get_one(User, login).is_admin:
        mine = delete(Invitation).where(Invitation.project == project, Invitation.created_by == login)
        session.execute(mine.where(Invitation.used_at.is_(None)))
