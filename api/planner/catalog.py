"""Define the catalog: the layers, optimizers, losses and other parts that a spec can name."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class CatalogArgument(_Value):
    """An argument of a layer or another part, with its default. `default` is null for a required argument."""

    name: str
    type: Annotated[
        str | None,
        Field(
            description=(
                "`boolean`, `integer`, `number`, `string` or `list`; `activation`, `initializer`, `regularizer` or "
                "`constraint` for a name from that part of the catalog; null if the type is unknown."
            )
        ),
    ]
    required: bool
    default: Any = None
    description: str


class CatalogEntry(_Value):
    """A class or a function of Keras, or `Residual`. The descriptions of Keras come from its docstrings."""

    name: str
    description: str
    arguments: list[CatalogArgument] = []


class DatasetEntry(_Value):
    """A built-in data set. `shape` is the shape of one row: height, width and channels for images."""

    name: str
    images: bool
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train_rows: int
    test_rows: int


class Catalog(_Value):
    """Everything that a spec can name."""

    layers: list[CatalogEntry]
    augmentation: list[CatalogEntry]
    activations: list[str]
    initializers: list[CatalogEntry]
    regularizers: list[CatalogEntry]
    constraints: list[CatalogEntry]
    optimizers: list[CatalogEntry]
    schedules: list[CatalogEntry]
    losses: list[CatalogEntry]
    metrics: list[CatalogEntry]
    datasets: list[DatasetEntry]
