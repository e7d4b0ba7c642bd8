"""Group the recipes for their gallery: by what they are trained on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from flask import url_for

from api.documents.recipes import RecipeDocument
from api.web.words import choose_language, load_translations

GROUPS = {
    "digits": "digits",
    "mnist": "digits",
    "fashion_mnist": "clothes",
    "cifar10": "photos",
    "reviews_english": "texts",
    "reviews_korean": "texts",
    None: "neurons",
}
"""The group of each data set. All others are tables."""
OTHER_GROUP = "tables"
ORDER = ("digits", "clothes", "photos", "texts", "tables", "neurons")
PICTURES = {"digits": "mnist", "clothes": "fashion_mnist", "photos": "cifar10"}
"""The built-in data set that shows what a group is about."""
MAX_PICTURES = 6
_FIGURE = re.compile(r"(train|validation|test) (\S+) (\S+)")


@dataclass(frozen=True)
class Card:
    """A recipe in the gallery.

    Attributes:
        title: in the language of the request.
        figure: the part, the name and the value of the metric that tells most; None if nothing was measured.
    """

    recipe: RecipeDocument
    title: str
    figure: tuple[str, str, str] | None


@dataclass(frozen=True)
class Group:
    """Recipes about the same kind of data. `pictures` are addresses of some images."""

    name: str
    cards: list[Card]
    pictures: list[str]


def group_recipes(recipes: Iterable[RecipeDocument]) -> list[Group]:
    """Return the recipes in groups: in each of them those that train fastest come first."""
    titles = load_translations("recipes", choose_language())
    groups: dict[str, list[RecipeDocument]] = {name: [] for name in ORDER}
    for recipe in recipes:
        groups[GROUPS.get(recipe.dataset, OTHER_GROUP)].append(recipe)
    return [
        Group(
            name,
            [
                Card(recipe, titles.get(recipe.name, recipe.title), _choose_figure(recipe))
                for recipe in sorted(members, key=lambda one: one.result.seconds if one.result else float("inf"))
            ],
            [
                url_for("dataset_rows.draw_dataset_row", name=PICTURES[name], index=index, side=48)
                for index in range(MAX_PICTURES if name in PICTURES else 0)
            ],
        )
        for name, members in groups.items()
        if members
    ]


def _choose_figure(recipe: RecipeDocument) -> tuple[str, str, str] | None:
    """Return the accuracy of the part that tells most: test, else validation, else training; or else a first figure."""
    found: list[tuple[str, str, str]] = (
        _FIGURE.findall(recipe.result.figures.replace(";", " ")) if recipe.result else []
    )
    accuracies = [figure for figure in found if "accuracy" in figure[1]]
    chosen = accuracies[-1:] or found[:1]
    return chosen[0] if chosen else None
