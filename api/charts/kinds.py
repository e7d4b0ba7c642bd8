"""What pictures are made of, without what draws them."""

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
    page: str
    ink: str
    faint: str


Draw = Callable[["Figure", Colors], None]
Drawing = tuple[Draw, tuple[float, float]]
"""What draws, and the size in inches: (width, height)."""
