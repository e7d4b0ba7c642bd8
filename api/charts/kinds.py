"""Define the types of charts. Importing this module does not import Matplotlib."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PictureFormat(StrEnum):
    SVG = "svg"
    PNG = "png"


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True)
class Colors:
    """Colours of a page, as `#rrggbb`.

    Attributes:
        page: background.
        ink: text.
        faint: grid lines and frames.
        right: text about a right prediction.
        wrong: text about a wrong prediction.
    """

    page: str
    ink: str
    faint: str
    right: str
    wrong: str


Draw = Callable[["Figure", Colors], None]
Drawing = tuple[Draw, tuple[float, float]]
"""A function that draws on a figure, and the (width, height) of the figure in inches."""
