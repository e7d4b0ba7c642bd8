"""List the recipes: specs that can be sent as they are."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.documents.recipes import Recipe, RecipeDocument, RecipeList, load_recipes
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from shared.access.rights import Scope
from shared.errors import FileNotFound, suggest

bp = APIBlueprint("recipes", __name__, url_prefix="/api/v1/recipes", abp_tags=[Tag(name="Catalog")])


class RecipePath(BaseModel):
    name: str = Field(max_length=200)


@bp.get("", responses={200: RecipeList, **describe_problems()})
@needs(Scope.READ)
@parse_request
def list_recipes() -> Response:
    """List the recipes, ordered by name."""
    return to_response(RecipeList(recipes=[Recipe.model_validate(vars(recipe)) for recipe in load_recipes().values()]))


@bp.get("/<name>", responses={200: RecipeDocument, **describe_problems(FileNotFound)})
@needs(Scope.READ)
@parse_request
def show_recipe(path: RecipePath) -> Response:
    """Show a recipe, with its spec as YAML and as JSON."""
    recipes = load_recipes()
    if path.name not in recipes:
        raise FileNotFound(f"There is no recipe {path.name[:100]!r}.{suggest(path.name, recipes)}")
    return to_response(recipes[path.name])
