"""Define the `network` part of a training spec."""

import json
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shared.spec.fields import KerasPart, Name, SpecPart

WRAPPERS = ("Bidirectional", "TimeDistributed")
MAX_LAYERS = 500  # Keras traverses the layers of a network by recursion


class LayerSpec(KerasPart):
    """A Keras layer, or `Residual` or `Maxout`, which are layers of Trainyard.

    `Residual` runs its `layers` and adds its own input to their output. `Maxout` returns the largest of the outputs of
    several Dense layers, `pieces`. `Bidirectional` and `TimeDistributed` have the layer that they wrap in `layers`.
    """

    layer: Annotated[Name, Field(examples=["Dense"])]
    layers: Annotated[
        list["LayerSpec"] | None,
        Field(
            min_length=1,
            description="The layers inside `Residual`, or the one inside `Bidirectional` or `TimeDistributed`.",
            exclude_if=lambda layers: layers is None,
        ),
    ] = None

    @model_validator(mode="after")
    def _check_inner_layers(self) -> Self:
        if (self.layers is None) == (self.layer in ("Residual", *WRAPPERS)):
            raise ValueError(
                "`layers` is required for `Residual`, `Bidirectional` and `TimeDistributed`, and not allowed for other "
                "layers."
            )
        if self.layer in WRAPPERS and len(self.layers or ()) != 1:
            raise ValueError(f"`{self.layer}` has exactly one layer in `layers`.")
        return self

    def count(self) -> int:
        """Return the number of layers: this layer and all layers inside it."""
        pieces = self.arguments.get("pieces") if self.layer == "Maxout" else None
        return (
            1
            + sum(layer.count() for layer in self.layers or ())
            + (min(max(pieces, 0), MAX_LAYERS) if type(pieces) is int else 0)
        )


def _parse_json_text(value: object) -> object:
    """Parse the string that `to_json()` returns. Other values stay unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The text is not JSON: {error}") from None


class NetworkSpec(SpecPart):
    """The network in one of three forms.

    `layers` is a sequence of layers. `keras` is the output of `model.to_json()`. `from` is a version: the training
    starts from its network and its weights.
    """

    layers: Annotated[list[LayerSpec] | None, Field(min_length=1, max_length=MAX_LAYERS)] = None
    keras: Annotated[
        dict[str, Any] | None,
        BeforeValidator(_parse_json_text, json_schema_input_type=dict[str, Any] | str | None),
        Field(examples=[{"class_name": "Sequential", "config": {"layers": []}}]),
    ] = None
    from_: Annotated[
        str | None,
        Field(
            alias="from",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@[a-z0-9._-]{1,100})?$",
            description="A version: `model@number`, `model@alias`, or `model` for the version that the model serves.",
            examples=["mnist-cnn@production"],
        ),
    ] = None
    initial_weights: Annotated[
        list[Any] | None,
        Field(
            description="The weights to begin with instead of random ones, for networks of up to 10,000 weights: an "
            "array for each of them, as nested lists, in the order of Keras's `get_weights()`.",
            examples=[[[[0.5], [0.5]], [-0.7]]],
            exclude_if=lambda arrays: arrays is None,
        ),
    ] = None
    weights: Annotated[
        str | None,
        Field(
            pattern=r"^sha256:[0-9a-f]{64}$",
            description="The weights to begin with instead of random ones: a file that `POST /api/v1/weights` has "
            "received, with the arrays of Keras's `get_weights()`.",
            exclude_if=lambda weights: weights is None,
        ),
    ] = None
    freeze: Annotated[
        tuple[Name, ...],
        Field(
            max_length=MAX_LAYERS,
            description="Only with `from`: names of layers that keep their weights, or patterns such as `conv2d*`.",
        ),
    ] = ()

    @field_validator("layers")
    @classmethod
    def _check_layer_count(cls, layers: list[LayerSpec] | None) -> list[LayerSpec] | None:
        if (count := sum(layer.count() for layer in layers or ())) > MAX_LAYERS:
            raise ValueError(
                f"The network has {count} layers, including those inside `Residual` and `Maxout`. The limit is "
                f"{MAX_LAYERS}."
            )
        return layers

    @model_validator(mode="after")
    def _check_one_form(self) -> Self:
        if sum(form is not None for form in (self.layers, self.keras, self.from_)) != 1:
            raise ValueError("Give exactly one of `layers`, `keras` and `from`.")
        for key, given in (("initial_weights", self.initial_weights), ("weights", self.weights)):
            if given is not None and self.from_ is not None:
                raise ValueError(f"`{key}` cannot be used with `from`, which brings its own weights.")
        if self.initial_weights is not None and self.weights is not None:
            raise ValueError("Give either `initial_weights` or `weights`.")
        if self.freeze and self.from_ is None:
            raise ValueError("`freeze` can only be used with `from`.")
        return self
