"""Draw the charts of jobs, versions and data sets. Each function returns a draw function and the size in inches."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from api.charts.kinds import Colors, Drawing
from api.charts.scatter import Points
from shared.registry.evaluation import ClassificationReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE_COLORS = ("#0969da", "#bc4c00", "#8250df", "#1a7f37", "#bf3989", "#9a6700")
MAX_NUMBERED_CLASSES = 20
MAX_DRAWN_CLASSES = 200
"""The most classes of a confusion matrix that are drawn."""
MAX_POINTS = 2000
MAX_TILES = 64
TITLE_POINTS = 12.0
MAX_TITLE_LINES = 3
MAX_NAME_COLUMNS = 16
HISTOGRAM_BINS = 30


@dataclass(frozen=True)
class Tile:
    """An image of a gallery.

    Attributes:
        image: (height, width, 1 or 3) uint8.
        words: caption above the image.
        right: whether the prediction is right; None without a prediction.
    """

    image: NDArray[np.uint8]
    words: str
    right: bool | None = None


@dataclass(frozen=True)
class Surface:
    """Outputs of a version over the plane of its two inputs.

    Attributes:
        first: grid coordinates of the first input, (columns,).
        second: grid coordinates of the second input, (rows,).
        values: (rows, columns): a probability, a number, or the index of the most probable class.
        meaning: label of the colour bar.
        classes: names of the classes; empty for a version that returns numbers.
        axis_names: names of the two inputs.
        points: data points to draw, (n, 2).
        point_values: labels of the data points, on the scale of `values`, (n,).
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    values: NDArray[np.float64]
    meaning: str
    classes: tuple[str, ...]
    axis_names: tuple[str, str]
    points: NDArray[np.float64]
    point_values: NDArray[np.float64]


def draw_curves(title: str, epochs: Sequence[int], metrics: Mapping[str, Sequence[float | None]]) -> Drawing:
    """Draw the training and validation curves of each metric, the loss on top.

    Names of validation metrics begin with `val_`. None is a value that is not finite: the curve has a gap there.
    """
    names = sorted({name.removeprefix("val_") for name in metrics}, key=lambda name: (name != "loss", name))
    step = max(1, math.ceil(len(epochs) / MAX_POINTS))

    def draw(figure: "Figure", colors: Colors) -> None:
        rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name, color in zip(rows, names, LINE_COLORS * len(names), strict=False):
            for key, label, style in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
                if key in metrics:
                    values = [math.nan if value is None else value for value in metrics[key]]
                    marker = "o" if len(epochs) <= MAX_NUMBERED_CLASSES else ""
                    axes.plot(
                        epochs[::step], values[::step], style, color=color, label=label, marker=marker, markersize=3
                    )
            axes.set_ylabel(name)
            axes.grid(color=colors.faint, linewidth=0.5)
            axes.legend(frameon=False, labelcolor=colors.ink)
        _set_title(figure, title, colors)
        rows[-1].set_xlabel("epoch")
        rows[-1].xaxis.get_major_locator().set_params(integer=True)

    return draw, (7.5, 1.0 + 2.4 * len(names))


def draw_confusion(title: str, classes: Sequence[str], report: ClassificationReport) -> Drawing:
    """Draw the confusion matrix of a report; `classes` are the names of its classes.

    The colour of a cell is its share of the true class in percent, on a scale of square roots, so that rare mistakes
    are seen; a cell without rows is empty. The number in a cell is the count; it is left out for more than
    MAX_NUMBERED_CLASSES classes. Of more than MAX_DRAWN_CLASSES classes, those with the most
    misclassified rows are drawn.
    """
    drawn, matrix = report.select_confusion(MAX_DRAWN_CLASSES)
    if len(drawn) < len(classes):
        title = f"{title}\nthe {MAX_DRAWN_CLASSES} most confused of {len(classes):,} classes"
        classes = [classes[index] for index in drawn]
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 3.0 + 0.45 * min(len(classes), 40)
    from matplotlib.colors import PowerNorm  # slow to import

    def draw(figure: "Figure", colors: Colors) -> None:
        axes = figure.subplots()
        image = axes.imshow(np.ma.masked_equal(shares, 0), cmap="cividis", norm=PowerNorm(0.5, 0, 100))
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("share of the true class (%)", color=colors.ink)
        _label_ticks(axes, classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        _set_title(figure, title, colors)
        if len(classes) <= MAX_NUMBERED_CLASSES:
            for row, column in np.argwhere(matrix).tolist():
                shade = _choose_ink(np.asarray(image.to_rgba(shares[row, column]))[:3])
                size = 8 if len(classes) > 12 else 10  # noqa: PLR2004 - to fit the cells
                axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=shade, fontsize=size)

    return draw, (side + 1.2, side)


def draw_gallery(title: str, tiles: Sequence[Tile], columns: int = 8) -> Drawing:
    """Draw images with captions: green for a right prediction, red for a wrong one."""
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)

    def draw(figure: "Figure", colors: Colors) -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, tile in zip(grid.flat, tiles, strict=False):
            image = tile.image[..., 0] if tile.image.shape[-1] == 1 else tile.image
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            mark, color = {
                True: ("✓ ", colors.right),
                False: ("✗ ", colors.wrong),
                None: ("", colors.ink),
            }[tile.right]
            axes.set_title(f"{mark}{tile.words}", fontsize=8, color=color)
        _set_title(figure, title, colors)

    return draw, (max(5.0, 1.25 * columns), 0.6 + 1.55 * rows)


def draw_maps(title: str, stack: NDArray[np.float64], words: Sequence[str]) -> Drawing:
    """Draw feature maps or kernels.

    Args:
        title: title of the chart.
        stack: (n, height, width), each scaled to its own range; or (n, height, width, 3) RGB from 0 to 1.
        words: caption of each map.
    """
    columns = min(8, len(stack))
    rows = math.ceil(len(stack) / columns)

    def draw(figure: "Figure", colors: Colors) -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, values, name in zip(grid.flat, stack, words, strict=False):
            axes.imshow(values, cmap="viridis", interpolation="nearest")
            axes.set_title(name, fontsize=8, color=colors.ink)
        _set_title(figure, title, colors)

    return draw, (max(5.0, 1.2 * columns), 0.7 + 1.35 * rows)


def draw_surface(title: str, surface: Surface) -> Drawing:
    """Draw the outputs of a version over the plane of its two inputs, and the data points."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize  # slow to import

    if len(surface.classes) > 2:  # noqa: PLR2004 - one colour per class
        palette: Any = ListedColormap([LINE_COLORS[index % len(LINE_COLORS)] for index in range(len(surface.classes))])
        scale: Normalize = BoundaryNorm(np.arange(len(surface.classes) + 1) - 0.5, len(surface.classes))
    else:
        palette, scale = "cividis", Normalize(0, 1) if surface.classes else Normalize()

    def draw(figure: "Figure", colors: Colors) -> None:
        axes = figure.subplots()
        drawn = axes.pcolormesh(
            surface.first, surface.second, surface.values, cmap=palette, norm=scale, rasterized=True
        )
        bar = figure.colorbar(drawn, ax=axes)
        bar.set_label(surface.meaning, color=colors.ink)
        if len(surface.classes) > 2:  # noqa: PLR2004
            bar.set_ticks(range(len(surface.classes)), labels=list(surface.classes))
        if len(surface.points):
            first, second = surface.points.T
            dots = axes.scatter(first, second, s=60, c=surface.point_values, cmap=palette, norm=scale)
            dots.set(edgecolor="#fafafa", linewidth=1.5)
        axes.set_xlabel(surface.axis_names[0])
        axes.set_ylabel(surface.axis_names[1])
        _set_title(figure, title, colors)

    return draw, (7.0, 5.5)


def draw_scatter(title: str, points: Points) -> Drawing:
    """Draw points in a plane or in space, coloured by their class or by a number."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize  # slow to import

    count = len(points.classes)
    palette: Any = "cividis"
    scale = Normalize()
    if count:
        palette = ListedColormap([LINE_COLORS[index % len(LINE_COLORS)] for index in range(count)])
        scale = BoundaryNorm(np.arange(count + 1) - 0.5, max(count, 2)) if count > 1 else Normalize(0, 1)

    def draw(figure: "Figure", colors: Colors) -> None:
        is_space = points.values.shape[1] > 2  # noqa: PLR2004 - a plane
        axes: Any = figure.add_subplot(projection="3d") if is_space else figure.subplots()
        dots = axes.scatter(*points.values.T, s=16, c=points.colors, cmap=palette, norm=scale, alpha=0.8)
        for axis, name in zip("xyz", points.names, strict=False):
            getattr(axes, f"set_{axis}label")(shorten(name))
        if is_space:
            axes.set_facecolor(colors.page)
            for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
                axis.set_pane_color(colors.page)
                axis.label.set_color(colors.ink)
                axis.set_tick_params(colors=colors.ink)
        bar = figure.colorbar(dots, ax=axes, pad=0.12 if is_space else 0.05)
        if 0 < count <= MAX_NUMBERED_CLASSES:
            bar.set_ticks(range(count), labels=[shorten(name) for name in points.classes])
        _set_title(figure, title, colors)

    return draw, (7.0, 5.5)


def draw_function(
    name: str, formula: str, x: Sequence[float], y: Sequence[float], slopes: Sequence[float | None]
) -> Drawing:
    """Draw a function, and its slopes between neighbouring points as its derivative; None where it jumps."""
    places = np.asarray(x)
    derivative = np.asarray(slopes, np.float64)  # None becomes NaN
    jumps = np.flatnonzero(np.isnan(derivative)) + 1
    values = np.insert(np.asarray(y), jumps, np.nan)  # a gap where the function jumps

    def draw(figure: "Figure", colors: Colors) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=colors.faint, linewidth=1)
        axes.axvline(0, color=colors.faint, linewidth=1)
        axes.plot(np.insert(places, jumps, np.nan), values, color=LINE_COLORS[0], linewidth=2.2, label=name)
        axes.plot((places[:-1] + places[1:]) / 2, derivative, color=LINE_COLORS[1], linestyle="--", label="derivative")
        axes.set_ylim(max(-5.2, min(-0.3, np.nanmin(values) * 1.1)), min(5.2, max(1.3, np.nanmax(values) * 1.1)))
        axes.set_xlabel("x")
        axes.legend(frameon=False, labelcolor=colors.ink, loc="upper left")
        _set_title(figure, f"{name}\n{formula}", colors)

    return draw, (5.0, 3.6)


def draw_histograms(title: str, columns: Sequence[str], x: NDArray[np.float32]) -> Drawing:
    """Draw a histogram of each column of x, (n, columns)."""
    across = min(4, len(columns))
    rows = math.ceil(len(columns) / across)

    def draw(figure: "Figure", colors: Colors) -> None:
        grid = figure.subplots(rows, across, squeeze=False)
        for axes in grid.flat[len(columns) :]:
            axes.set_axis_off()
        for axes, name, values in zip(grid.flat, columns, x.T, strict=False):
            counts, edges = _count_bins(values)
            axes.stairs(counts, edges, fill=True, color=LINE_COLORS[0])
            axes.set_xlabel(name)
            axes.set_ylabel("rows")
        _set_title(figure, title, colors)

    return draw, (2.6 * across + 0.4, 0.6 + 2.1 * rows)


def _count_bins(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count the values in HISTOGRAM_BINS bins. Returns the counts and the edges of the bins, one more.

    Bins of equal values, or of values that differ by less than a float32 can tell, are widened around them.
    """
    low, high = float(values.min()), float(values.max())
    margin = max(0.5, 1e-6 * abs(low)) if high - low <= 1e-6 * max(abs(low), abs(high)) else 0.0
    return np.histogram(values.astype(np.float64), bins=HISTOGRAM_BINS, range=(low - margin, high + margin))


def _label_ticks(axes: Any, classes: Sequence[str]) -> None:  # noqa: ANN401 - Matplotlib is not imported here
    """Label both axes with the class names, shortened."""
    indices = range(len(classes))
    shown = list(map(shorten, classes))
    turned = max(map(len, shown)) > 2  # noqa: PLR2004 - longer labels would overlap
    axes.set_xticks(indices, labels=shown, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(indices, labels=shown)


def _set_title(figure: "Figure", title: str, colors: Colors) -> None:
    """Write the title at the top left, in at most MAX_TITLE_LINES lines that fit the width of the figure."""
    columns = int(figure.get_figwidth() * 72 / (0.62 * TITLE_POINTS))  # 72 points are an inch, a character 0.62 em
    lines: list[str] = []
    for given in title.split("\n"):
        rest = given
        while rest:
            line = _cut(rest, columns)
            if len(line) < len(rest) and " " in line.strip():
                line = line[: line.rindex(" ") + 1]
            lines.append(line.rstrip())
            rest = rest[len(line) :]
    if len(lines) > MAX_TITLE_LINES:
        lines = [*lines[: MAX_TITLE_LINES - 1], f"{_cut(lines[MAX_TITLE_LINES - 1], columns - 1)}…"]
    figure.suptitle("\n".join(lines), color=colors.ink, fontsize=TITLE_POINTS, x=0.01, ha="left")


def shorten(name: str) -> str:
    """Shorten a name to MAX_NAME_COLUMNS."""
    return name if _cut(name, MAX_NAME_COLUMNS) == name else f"{_cut(name, MAX_NAME_COLUMNS - 1)}…"


def _cut(text: str, columns: int) -> str:
    """Return the beginning of a text that takes so many columns. A wide character, such as Hangul, takes two."""
    taken = 0
    for index, character in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > columns:
            return text[:index]
    return text


def _choose_ink(background: NDArray[np.float64]) -> str:
    """Return black or white, whichever has more contrast on an RGB color from 0 to 1, (3,): at least 4.5:1.

    Source: the relative luminance of WCAG 2.2.
    """
    linear = np.where(background <= 0.04045, background / 12.92, ((background + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
