"""Read the words of the pages, and choose the language of a request."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import request

from api.documents.problem_types import load_problem_types

FOLDER = Path(__file__).parent / "words"
LANGUAGES = ("en", "ko")
COOKIE = "trainyard-language"


@cache
def load_words(language: str) -> Mapping[str, str]:
    """Read the words of a language, by their keys."""
    return tomllib.loads((FOLDER / f"{language}.toml").read_text())


@cache
def load_translations(subject: str, language: str) -> Mapping[str, str]:
    """Read the translations of texts whose English ones stand elsewhere, by the names of their subjects.

    `subject` is `recipes` for the titles of recipes, or `problems` for the meanings of the types of problems.
    """
    path = FOLDER / f"{subject}_{language}.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


@cache
def load_faults(language: str) -> list[tuple[str, str]]:
    """Read the translations of faults: a pattern with a named group for each text, and the sentence in the language."""
    path = FOLDER / f"faults_{language}.toml"
    pairs = tomllib.loads(path.read_text())["faults"] if path.exists() else []
    return [(_to_pattern(english), translated) for english, translated in pairs]


def _to_pattern(sentence: str) -> str:
    parts = re.split(r"\{(\w+)\}", sentence)
    return "".join(f"(?P<{part}>.*?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))


def translate_fault(detail: str) -> tuple[str, str]:
    """Return a fault in the language of the request if its translation is known, and the language that it is in."""
    language = choose_language()
    for pattern, sentence in load_faults(language):
        if found := re.fullmatch(pattern, detail, re.DOTALL):
            return sentence.format(**found.groupdict()), language
    return detail, LANGUAGES[0]


def explain_problem(kind: str) -> str:
    """Return what a type of problem means and what to do, in the language of the request; empty for an unknown type."""
    known = load_problem_types()
    english = known[kind].meaning if kind in known else ""
    return load_translations("problems", choose_language()).get(kind, english)


def choose_language() -> str:
    """Return the language of the request: that of `?lang=`, of the cookie, or what the browser prefers."""
    for stated in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if stated in LANGUAGES:
            return str(stated)
    return request.accept_languages.best_match(LANGUAGES, LANGUAGES[0]) or LANGUAGES[0]


def translate(language: str, key: str, **values: object) -> str:
    """Return a sentence with its values filled in. Raises KeyError for a key or a value that is missing."""
    return load_words(language)[key].format(**values)


def list_words(language: str, prefix: str) -> dict[str, str]:
    """Return the words whose keys begin with a prefix, by the rest of their keys."""
    return {key.removeprefix(prefix): text for key, text in load_words(language).items() if key.startswith(prefix)}


def select_words(language: str, *prefixes: str) -> dict[str, str]:
    """Return the words whose keys begin with one of the prefixes, for a script."""
    return {key: text for key, text in load_words(language).items() if key.startswith(prefixes)}
