"""Preprocess the samples of an import."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Fault, InvalidRequest, Overloaded, ServiceError
from shared.inference.inputs import Input, parse_instance, preprocess_input
from shared.preprocessing.contract import Contract
from shared.preprocessing.decoding import PixelBudget
from shared.preprocessing.image_decoder import ImageDecoder

MAX_FAULTS = 10
TOO_MANY_PIXELS = "the samples have more pixels together than one image may have; send fewer or smaller ones"


def preprocess_samples(
    instances: Sequence[Any], contract: Contract, decoder: ImageDecoder
) -> tuple[list[Input], NDArray[np.float32]]:
    """Parse inputs as a client sends them. Returns them, and the rows of the network's input, (n, *input_shape).

    Raises InvalidRequest with the inputs that cannot be read, or Overloaded.
    """
    inputs, rows, faults = [], [], []
    budget = PixelBudget(decoder.limits.max_pixels, TOO_MANY_PIXELS)
    for index, instance in enumerate(instances):
        try:
            given = parse_instance(instance, f"sample {index}", ())
            rows.append(preprocess_input(given, contract, decoder, budget).values)
            inputs.append(given)
        except Overloaded:
            raise
        except ServiceError as error:
            faults.append(Fault(f"#/samples/inputs/{index}", error.detail))
    if faults:
        raise InvalidRequest("The samples are no inputs of the model.", tuple(faults[:MAX_FAULTS]))
    return inputs, np.stack(rows)
