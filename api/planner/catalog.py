"""What a spec may name, as the catalog answers it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Argument(_Value):
    name: str
    type: Annotated[
        str | None, Field(description="Of JSON, or `initializer` and the like; None where several may stand")
    ]
    required: bool
    default: Any = None
    description: str


class Entry(_Value):
    name: str
    description: str
    arguments: list[Argument] = []


class DatasetEntry(_Value):
    """`shape` is that of one row: height, width and channels for images."""

    name: str
    images: bool
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train_rows: int
    test_rows: int


class Catalog(_Value):
    layers: list[Entry]
    augmentation: list[Entry]
    activations: list[str]
    initializers: list[Entry]
    regularizers: list[Entry]
    constraints: list[Entry]
    optimizers: list[Entry]
    schedules: list[Entry]
    losses: list[Entry]
    metrics: list[Entry]
    datasets: list[DatasetEntry]
