"""Define the arrays of pixels that preprocessing works on."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
GRAY_CHANNELS = 1
WHITE = 255
