"""Render drawings as SVG or PNG, for a light or a dark page.

Figures are created without pyplot, whose global state is not safe for threads.
"""

import io
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from api.charts.kinds import Colors, Draw, PictureFormat, Theme

# A `$` in a class name must not start a formula. With a fixed salt, the same chart is always the same SVG.
mpl.rcParams.update(
    {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "trainyard",
        "font.size": 10,
        "font.family": ["DejaVu Sans", "NanumGothic", "sans-serif"],
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
if (fonts := find_spec("koreanize_matplotlib")) is not None and fonts.origin is not None:
    font_manager.fontManager.addfont(Path(fonts.origin).parent / "fonts" / "NanumGothic.ttf")
warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a PNG shows a box instead of such a character

DOTS_PER_INCH = 120
_ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""The characters that XML 1.0 forbids, also escaped; a class name can contain them."""
COLORS = {
    Theme.LIGHT: Colors(page="#ffffff", ink="#1f2329", faint="#d0d6dd", right="#1a7f37", wrong="#cf222e"),
    Theme.DARK: Colors(page="#0e1117", ink="#e7ecf2", faint="#3b434d", right="#3fb950", wrong="#ff7b72"),
}
"""Texts have a contrast of at least 4.5:1 on their page (WCAG 2.2, 1.4.3)."""


def render(draw: Draw, size: tuple[float, float], picture_format: PictureFormat, theme: Theme | None) -> bytes:
    """Render a drawing; `size` is (width, height) in inches.

    Without a theme, a PNG is light, and an SVG follows the colour scheme of its reader.
    """
    colors = COLORS[theme or Theme.LIGHT]
    figure = Figure(figsize=size, layout="constrained", facecolor=colors.page)
    draw(figure, colors)
    for axes in figure.axes:
        _apply_colors(axes, colors)
    buffer = io.BytesIO()
    metadata = {"Date": None} if picture_format is PictureFormat.SVG else {"Software": None}
    figure.savefig(buffer, format=picture_format, dpi=DOTS_PER_INCH, metadata=metadata)
    picture = buffer.getvalue()
    if picture_format is PictureFormat.SVG:
        picture = _ILLEGAL_IN_XML.sub("\ufffd", picture.decode()).encode()
    if picture_format is PictureFormat.SVG and theme is None:
        return picture.replace(b"<defs>", _make_dark_style() + b"<defs>", 1)
    return picture


def _apply_colors(axes: Axes, colors: Colors) -> None:
    axes.set_facecolor(colors.page)
    axes.tick_params(colors=colors.ink)
    for spine in axes.spines.values():
        spine.set_color(colors.faint)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(colors.ink)


def _make_dark_style() -> bytes:
    """Return a style sheet that replaces the light colours by the dark ones if the reader prefers dark pages.

    Matplotlib writes each colour into a `style` attribute, which only `!important` rules override.
    """
    light, dark = COLORS[Theme.LIGHT], COLORS[Theme.DARK]
    rules = "".join(
        f'[style*="{kind}: {old}"]{{{kind}:{new} !important}}'
        for kind in ("fill", "stroke")
        for old, new in zip(vars(light).values(), vars(dark).values(), strict=True)
    )
    return f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>".encode()
