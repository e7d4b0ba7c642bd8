"""Render pages: their language, their theme, and how numbers and times read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from unicodedata import east_asian_width
from urllib.parse import urlencode

from flask import Response, make_response, render_template, request, url_for
from markupsafe import Markup, escape

from api.access.callers import get_caller
from api.services import services
from api.web import words
from api.web.static_files import compute_digest
from shared.access.rights import Scope
from shared.errors import InvalidRequest
from shared.version import VERSION

THEMES = ("system", "light", "dark")
THEME_COOKIE = "trainyard-theme"
PAGE_WORDS = ("script.",)
"""The words that the scripts of every page need."""


@dataclass(frozen=True)
class Section:
    """A place in the navigation: its endpoint, and the key of its name."""

    endpoint: str
    key: str


SECTIONS = (
    Section("web.show_home", "nav.home"),
    Section("web.show_jobs", "nav.jobs"),
    Section("web.show_models", "nav.models"),
    Section("web.show_datasets", "nav.data"),
    Section("web.show_queue", "nav.queue"),
)
PROJECTS = Section("web.show_projects", "nav.projects")
"""The section of those who are signed in."""


def render(
    template: str, section: str = "", *, script: str | None = None, script_words: tuple[str, ...] = (), **values: object
) -> Response:
    """Render a page.

    Args:
        section: the endpoint of the section that the page belongs to.
        script: the module of the page; None for a page without one.
        script_words: prefixes of the keys of the words that the module needs.
        values: what the template shows. `data` is passed on to the module as JSON.
    """
    language, theme = words.choose_language(), choose_theme()
    page = render_template(
        template,
        t=partial(words.translate, language),
        language=language,
        theme=theme,
        sections=(*SECTIONS, PROJECTS) if get_caller().is_signed_in else SECTIONS,
        section=section,
        script=script,
        script_words=words.select_words(language, *PAGE_WORDS, *script_words) if script else {},
        static=locate_static,
        show_time=format_time,
        show_number=format_number,
        show_seconds=partial(format_seconds, language),
        owner=_get_owner(),
        signed_in=get_caller().is_signed_in,
        is_admin=get_caller().is_signed_in and get_caller().may(Scope.ADMIN),
        is_closed=services().gate.is_closed,
        release=VERSION,
        root=request.script_root,
        api=f"{request.script_root}/api/v1",
        choice_link=link_choice,
        request=request,
        **values,
    )
    return make_response(page)


def choose_theme() -> str:
    """Return the theme of the request: that of `?theme=`, of the cookie, or that of the system."""
    for stated in (request.args.get("theme"), request.cookies.get(THEME_COOKIE)):
        if stated in THEMES:
            return str(stated)
    return THEMES[0]


def locate_static(name: str) -> str:
    """Return the address of a static file."""
    return url_for("web.show_static", digest=compute_digest(), name=name)


def link_choice(key: str, value: str) -> str:
    """Return the address of this page with a choice of the language or the theme."""
    rest = [(name, one) for name, one in request.args.items(multi=True) if name != key]
    return f"{request.script_root}{request.path}?{urlencode([*rest, (key, value)])}"


def _get_owner() -> str:
    """Return the owner of the request; an empty text if its header cannot be read, which the page itself tells."""
    try:
        return services().owners.get_current()
    except InvalidRequest:
        return ""


def format_time(time: datetime) -> str:
    """Format a time for people without a script, whose local time nobody knows."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def format_number(value: float | None) -> str:
    """Format a metric with four significant digits."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"  # noqa: PLR2004


def format_seconds(language: str, seconds: float | None) -> str:
    """Format a duration in its two largest units."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    for key, large, small in (("days", days, hours), ("hours", hours, minutes), ("minutes", minutes, rest)):
        if large:
            return words.translate(language, f"time.{key}", large=large, small=small)
    return words.translate(language, "time.seconds", large=f"{seconds:.1f}" if seconds < 10 else rest)  # noqa: PLR2004


def loss_first(metrics: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """Return metrics with their values: the loss first, as everywhere in the pages."""
    return sorted(metrics.items(), key=lambda item: item[0] != "loss")


def shorten(name: str, width: int) -> str:
    """Shorten a name in its middle, so that names that begin alike differ. Letters of East Asia are two wide."""
    widths = [2 if east_asian_width(letter) in "WF" else 1 for letter in name]
    if sum(widths) <= width:
        return name
    end, tail = len(name), 0
    while end and tail + widths[end - 1] <= (width - 1) // 2:
        end -= 1
        tail += widths[end]
    start, head = 0, 0
    while head + widths[start] <= width - 1 - tail:
        head += widths[start]
        start += 1
    return f"{name[:start]}…{name[end:]}"


def mark_code(text: str) -> Markup:
    """Mark what stands between backquotes as code. Everything else is escaped."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
