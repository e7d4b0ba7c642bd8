"""Define the `network` part of a training spec."""

import json
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from shared.spec.fields import KerasPart, Name, SpecPart

MAX_LAYERS = 500  # Keras follows a network layer by layer, by recursion


class LayerSpec(KerasPart):
    """`Residual` is our own: its `layers`, and a way around them that is added to what they make."""

    layer: Annotated[Name, Field(examples=["Dense"])]
    layers: Annotated[
        list["LayerSpec"] | None,
        Field(min_length=1, description="For `Residual`.", exclude_if=lambda layers: layers is None),
    ] = None

    @model_validator(mode="after")
    def _check_residual_layers(self) -> Self:
        if (self.layers is None) == (self.layer == "Residual"):
            raise ValueError("`layers` goes with `layer: Residual`, and with no other.")
        return self

    def count(self) -> int:
        """Of the layers that it stands for."""
        return 1 + sum(layer.count() for layer in self.layers or ())


class NetworkSpec(SpecPart):
    """`layers`, one after the other; or `keras`, what `model.to_json()` prints of a network in Keras; or `from`, a
    version whose network and weights to start from.
    """

    layers: Annotated[list[LayerSpec] | None, Field(min_length=1, max_length=MAX_LAYERS)] = None
    keras: Annotated[
        dict[str, Any] | None, Field(examples=[{"class_name": "Sequential", "config": {"layers": []}}])
    ] = None
    from_: Annotated[
        str | None,
        Field(
            alias="from",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@[a-z0-9._-]{1,100})?$",
            description="`model@number`, `model@alias`, or `model` for the version that it serves.",
            examples=["mnist-cnn@production"],
        ),
    ] = None
    freeze: Annotated[
        tuple[Name, ...],
        Field(
            max_length=MAX_LAYERS,
            description="With `from`: layers that keep their weights, by name or by a pattern such as `conv2d*`.",
        ),
    ] = ()

    @field_validator("layers")
    @classmethod
    def _check_layer_count(cls, layers: list[LayerSpec] | None) -> list[LayerSpec] | None:
        if (count := sum(layer.count() for layer in layers or ())) > MAX_LAYERS:
            raise ValueError(f"{count} layers with those inside of others, where {MAX_LAYERS} are the limit.")
        return layers

    @field_validator("keras", mode="before")
    @classmethod
    def _parse_json_text(cls, value: object) -> object:
        """`to_json()` answers a string: it may stand as it is."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Not JSON: {error}") from None

    @model_validator(mode="after")
    def _check_one_form(self) -> Self:
        if sum(form is not None for form in (self.layers, self.keras, self.from_)) != 1:
            raise ValueError("Give one of `layers`, `keras` and `from`.")
        if self.freeze and self.from_ is None:
            raise ValueError("`freeze` goes with `from`.")
        return self
