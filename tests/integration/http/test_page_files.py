"""Test the files of the pages: words, templates, scripts and what is sent as it is."""

import hashlib
import re
import string
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.documents.problem_types import load_problem_types
from api.documents.recipes import load_recipes
from api.web.rendering import shorten
from api.web.static_files import FOLDER, load_files
from api.web.words import LANGUAGES, load_faults, load_translations, load_words, translate_fault

TEMPLATES = sorted((FOLDER.parent / "templates").rglob("*.html"))
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_SQLITE
def test_static_files_are_kept_for_good_and_named_by_their_content(http: FlaskClient) -> None:
    text = http.get("/ui/").text
    addresses = re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', text)

    for address in addresses:
        packed, plain = http.get(address, headers={"Accept-Encoding": "gzip"}), http.get(address)
        assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert packed.headers["Content-Encoding"] == "gzip"
        assert len(packed.data) < len(plain.data)
    assert len(addresses) >= 3
    assert http.get(f"{addresses[0]}x").status_code == 404
    assert http.get("/ui/static/0/../../site.py").status_code == 404


def test_both_languages_have_the_same_sentences() -> None:
    english, korean = (load_words(language) for language in LANGUAGES)

    assert english.keys() == korean.keys()
    for key, sentence in english.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in (sentence, korean[key])]
        assert fields[0] == fields[1], key
        assert korean[key].strip()


def test_recipes_and_problems_are_told_in_korean() -> None:
    titles, meanings = (load_translations(subject, "ko") for subject in ("recipes", "problems"))

    assert titles.keys() == load_recipes().keys()
    assert meanings.keys() == load_problem_types().keys()
    assert all(re.search("[가-힣]", text) for text in (*titles.values(), *meanings.values()))


def test_faults_are_told_in_korean(app: Flask) -> None:
    for pattern, sentence in load_faults("ko"):
        assert {name for _, name, _, _ in string.Formatter().parse(sentence) if name} <= set(
            re.compile(pattern).groupindex
        )
    with app.test_request_context(headers={"Accept-Language": "ko"}):
        layer = translate_fault("'Dens' is not an allowed layer. Did you mean 'Dense'? Use one of: Activation, Dense.")
        limit = translate_fault("Input should be greater than or equal to 0")
        unknown = translate_fault("Nobody has translated this.")
    with app.test_request_context(headers={"Accept-Language": "en"}):
        english = translate_fault("Unknown key.")

    assert layer == ("Dens: 사용할 수 없는 층입니다. 비슷한 이름: Dense", "ko")
    assert limit == ("0 이상이어야 합니다.", "ko")
    assert (unknown, english) == (("Nobody has translated this.", "en"), ("Unknown key.", "en"))


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("cat", 3, "cat"),
        ("class number 10", 11, "class…er 10"),
        ("class number 11", 11, "class…er 11"),
        ("한국의 음식 사진 3번", 13, "한국의…진 3번"),
        ("고양이", 2, "…"),
        ("", 0, ""),
    ],
)
def test_a_long_name_is_shortened_in_its_middle(name: str, width: int, shown: str) -> None:
    assert shorten(name, width) == shown


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_escapes_everything_and_has_nothing_inline(template: Path) -> None:
    text = template.read_text()

    assert not re.search(r"\|\s*safe\b|autoescape|<style|\sstyle=|\son\w+=|javascript:", text)


def test_scripts_write_text_and_never_markup() -> None:
    for name, file in load_files().items():
        if name.endswith(".js") and not name.startswith("uplot"):
            text = file.content.decode()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text), name


def test_every_sentence_of_the_templates_and_scripts_exists() -> None:
    known = load_words("en")
    for path in (*TEMPLATES, *FOLDER.glob("*.js"), *FOLDER.glob("pages/*.js")):
        for key in re.findall(r"\b(?:t|say)\([\"'`]([a-z_.]+[a-z_])[\"'`][,)]", path.read_text()):
            assert key in known, (path.name, key)


def test_the_vendored_library_is_the_released_one() -> None:
    digest = hashlib.sha256((FOLDER / "uplot-1.6.32" / "uPlot.iife.min.js").read_bytes()).hexdigest()
    assert digest == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
