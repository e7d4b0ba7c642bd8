import io
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.row_files import MappedRows
from shared.errors import ImageTooLarge, InvalidImage, InvalidRequest
from shared.preprocessing.contract import ImageContract, NumbersContract, build_contract, fit_statistics
from shared.preprocessing.decoding import ImageLimits, _read_header_with_pillow, decode_image, read_header
from shared.preprocessing.image_header import parse_header
from shared.preprocessing.transforms import transform_image, transform_images
from shared.spec.preprocessing import Preprocessing
from tests.support.contracts import RGB, build_image_contract
from tests.support.images import encoded, photo, png_header

LIMITS = ImageLimits(max_bytes=2**20, max_pixels=1_000_000)
GRAY = DatasetInfo((28, 28, 1), images=True, targets=TargetKind.CLASSES, train_rows=10, test_rows=0)
TABLE = DatasetInfo((4,), images=False, targets=TargetKind.CLASSES, train_rows=10, test_rows=0)


def make_image_files() -> dict[str, bytes]:
    pixels = photo()
    image = Image.fromarray(pixels)
    turned = [Image.fromarray(255 - pixels)]
    return {
        "png": encoded(pixels),
        "png, gray": encoded(pixels[..., 0]),
        "png, gray and alpha": encoded(image.convert("LA")),
        "png, palette": encoded(image.convert("P")),
        "png, palette with a transparent colour": encoded(image.convert("P"), transparency=3),
        "png, one bit": encoded(image.convert("1")),
        "png, several frames": encoded(image, save_all=True, append_images=turned),
        "jpeg": encoded(pixels, "JPEG", quality=95),
        "jpeg, progressive": encoded(pixels, "JPEG", progressive=True),
        "jpeg, gray": encoded(pixels[..., 0], "JPEG"),
        "jpeg, cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "webp": encoded(pixels, "WEBP"),
        "webp, lossless": encoded(pixels, "WEBP", lossless=True),
        "webp, several frames": encoded(image, "WEBP", save_all=True, append_images=turned),
        "bmp": encoded(pixels, "BMP"),
        "bmp, palette": encoded(image.convert("P"), "BMP"),
        "tiff": encoded(pixels, "TIFF"),
        "tiff, lzw": encoded(pixels, "TIFF", compression="tiff_lzw"),
        "tiff, cmyk": encoded(image.convert("CMYK"), "TIFF"),
        "tiff, two pages": encoded(image, "TIFF", save_all=True, append_images=turned),
        "gif": encoded(image, "GIF"),
        "gif, several frames": encoded(image, "GIF", save_all=True, append_images=turned),
    }


@pytest.mark.parametrize("name", make_image_files())
def test_every_format_is_decoded_as_pillow_decodes_it(name: str) -> None:
    data = make_image_files()[name]
    with Image.open(io.BytesIO(data)) as image:
        levels = np.asarray(image.convert("RGBA"), np.float64)

    decoded = decode_image(data, LIMITS)

    over_black = levels[..., :3] * levels[..., 3:] / 255
    assert np.abs(decoded - over_black).max() <= 1


@pytest.mark.parametrize(("name", "data"), make_image_files().items())
def test_the_fast_header_parser_agrees_with_pillow(name: str, data: bytes) -> None:
    header = parse_header(data)

    assert (header is not None) == name.startswith(("png", "jpeg"))
    assert header is None or header == _read_header_with_pillow(data)


def test_the_fast_header_parser_never_raises_on_damaged_headers() -> None:
    generator = random.Random(7)
    for data in (encoded(photo()), encoded(photo(), "JPEG")):
        for length in range(40):
            with suppress(InvalidImage):
                assert parse_header(data[:length]) is None
        for _ in range(2000):
            mutated = bytearray(data[: generator.randrange(8, len(data))])
            for _ in range(generator.randrange(1, 6)):
                mutated[generator.randrange(len(mutated))] = generator.randrange(256)
            with suppress(InvalidImage):
                parse_header(bytes(mutated))  # any result is allowed, another exception is not


@pytest.mark.parametrize(
    ("sides", "decoded_sides"),
    [
        ((480, 640), (120, 160)),  # scaled to 1/4: at 1/8 the height of 60 would be less than three times 32
        ((191, 1100), (191, 1100)),
        ((300, 700), (150, 350)),
        ((768, 900), (96, 113)),
        ((280, 280), (280, 280)),  # too small for a reduced size to save time
    ],
)
def test_a_large_jpeg_is_decoded_at_a_reduced_size(sides: tuple[int, int], decoded_sides: tuple[int, int]) -> None:
    contract = build_image_contract()
    data = encoded(photo(*sides), "JPEG", quality=95)

    decoded = decode_image(data, LIMITS, contract)

    assert decoded.shape[:2] == decoded_sides
    whole = decode_image(data, LIMITS)
    difference = np.abs(
        transform_image(decoded, contract).pixels.astype(float) - transform_image(whole, contract).pixels
    )
    assert difference.mean() < 1.0


@pytest.mark.parametrize("options", [{"fit": "mnist", "color": "grayscale"}, {"size": (300, 300)}])
def test_a_jpeg_is_decoded_whole_if_the_contract_needs_all_pixels(options: dict[str, Any]) -> None:
    data = encoded(photo(480, 640), "JPEG")

    assert decode_image(data, LIMITS, build_image_contract(**options)).shape == (480, 640, 3)


def test_a_png_is_decoded_whole() -> None:
    assert decode_image(encoded(photo(480, 640)), LIMITS, build_image_contract()).shape == (480, 640, 3)


def test_a_contract_without_a_decoding_is_decoded_whole() -> None:
    document = build_image_contract().model_dump(mode="json", exclude={"decoding"})

    assert ImageContract.model_validate(document).decoding == "whole"


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("background", [(0,), (255,), (10, 200, 30)])
def test_transparent_pixels_show_the_background(file_format: str, background: tuple[int, ...]) -> None:
    pixels = photo()
    alpha = np.linspace(0, 255, pixels.shape[1], dtype=np.uint8) * np.ones((pixels.shape[0], 1), np.uint8)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    data = encoded(np.dstack([pixels, alpha]), file_format, **options)

    contract = build_image_contract(background=background if len(background) > 1 else background[0])

    decoded = decode_image(data, LIMITS, contract)

    share = alpha[..., np.newaxis] / 255
    assert np.abs(decoded - (pixels * share + np.array(background) * (1 - share))).max() <= 1.5


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_levels_of_16_bits_are_converted_to_8_bits(file_format: str) -> None:
    levels = photo()[..., 0]
    data = encoded(levels.astype(np.uint16) * 257, file_format)

    assert np.array_equal(decode_image(data, LIMITS)[..., 0], levels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int) -> None:
    upright = photo()
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation

    decoded = decode_image(encoded(np.ascontiguousarray(turned), "JPEG", quality=100, subsampling=0, exif=exif), LIMITS)

    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 1


@pytest.mark.parametrize("name", ["png", "jpeg", "jpeg, progressive", "webp", "bmp", "tiff", "gif"])
def test_a_truncated_file_is_refused(name: str) -> None:
    data = make_image_files()[name]

    for length in range(0, len(data) - 2, max(1, len(data) // 60)):
        with pytest.raises(InvalidImage):
            decode_image(data[:length], LIMITS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of invalid tags
def test_damaged_files_are_refused_or_decoded_but_never_crash() -> None:
    draw = random.Random(7)
    files = list(make_image_files().values())

    for _ in range(600):
        data = bytearray(draw.choice(files))
        for _ in range(draw.choice([1, 3, 20])):
            data[draw.randrange(min(len(data), draw.choice([50, len(data)])))] = draw.randrange(256)
        try:
            image = decode_image(bytes(data), LIMITS)
        except (InvalidImage, ImageTooLarge):
            continue
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"<svg></svg>", b"\0" * 1000])
def test_data_that_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        read_header(data, LIMITS)


def test_a_decompression_bomb_is_refused_by_its_declared_size() -> None:
    with pytest.raises(ImageTooLarge, match="50,000 × 50,000"):
        decode_image(png_header(50_000, 50_000), LIMITS)


def test_an_image_over_the_byte_limit_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode_image(b"\x89PNG" + b"\0" * LIMITS.max_bytes, LIMITS)


def test_the_default_size_is_32_by_32_in_the_channels_of_the_data() -> None:
    assert build_image_contract(GRAY).input_shape == (32, 32, 1)
    assert build_image_contract(RGB).input_shape == (32, 32, 3)
    assert build_image_contract(GRAY, size="data").input_shape == (28, 28, 1)
    assert build_image_contract(RGB, size=(8, 9), color="grayscale").input_shape == (8, 9, 1)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "area", "lanczos"])
@pytest.mark.parametrize("size", [(28, 28), (120, 31)])
def test_resizing_equals_that_of_opencv(interpolation: str, size: tuple[int, int]) -> None:
    flag = getattr(cv2, "INTER_LANCZOS4" if interpolation == "lanczos" else f"INTER_{interpolation.upper()}")

    prepared = transform_image(photo(), build_image_contract(size=size, interpolation=interpolation)).pixels

    assert np.array_equal(prepared, cv2.resize(photo(), size[::-1], interpolation=flag))


def test_padding_keeps_the_aspect_ratio() -> None:
    prepared = transform_image(
        photo(20, 40), build_image_contract(size=(40, 40), fit="pad", background=(1, 2, 3))
    ).pixels

    assert (prepared[:10] == (1, 2, 3)).all()
    assert (prepared[30:] == (1, 2, 3)).all()
    assert np.array_equal(prepared[10:30], photo(20, 40))


def test_cropping_keeps_the_centre() -> None:
    prepared = transform_image(photo(20, 40), build_image_contract(size=(20, 20), fit="crop")).pixels

    assert np.array_equal(prepared, photo(20, 40)[:, 10:30])


def test_inversion_swaps_light_and_dark() -> None:
    contract = build_image_contract(size=(60, 80), invert="always")

    assert np.array_equal(transform_image(photo(), contract).pixels, 255 - photo())


def test_gray_and_colour_images_are_converted_to_each_other() -> None:
    gray = transform_image(photo(), build_image_contract(size=(60, 80), color="grayscale")).pixels
    colour = transform_image(gray, build_image_contract(size=(60, 80))).pixels

    assert np.array_equal(gray[..., 0], cv2.cvtColor(photo(), cv2.COLOR_RGB2GRAY))
    assert (colour == gray).all()


def test_many_images_are_transformed_like_a_single_one() -> None:
    images = np.stack([photo(), 255 - photo()])
    contract = build_image_contract(size=(11, 13))

    prepared = transform_images(images, contract)

    assert np.array_equal(prepared[1], transform_image(images[1], contract).pixels)


def test_images_that_need_no_change_are_not_copied() -> None:
    images = np.zeros((3, 28, 28, 1), np.uint8)

    assert transform_images(images, build_image_contract(GRAY, size="data")) is images


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("unit", [0, 0.2, 1]), ("signed", [-1, -0.6, 1]), ("none", [0, 51, 255]), (None, [0, 0.2, 1])],
)
def test_pixel_levels_are_scaled(scale: str | None, expected: list[float]) -> None:
    levels = np.array([[0], [51], [255]], np.float32)

    scaled = build_image_contract(GRAY, scale=scale).normalisation.apply(levels)

    assert scaled.dtype == np.float32
    assert scaled[:, 0] == pytest.approx(expected)


def test_standardized_columns_have_mean_0_and_deviation_1() -> None:
    x = np.random.default_rng(0).normal([1, -5, 100, 3], [2, 0.1, 30, 0], (500, 4)).astype(np.float32)

    contract = fit_statistics(build_contract(Preprocessing(scale="standardize"), TABLE), x)

    scaled = contract.normalisation.apply(x)
    assert scaled.mean(axis=0) == pytest.approx([0, 0, 0, 0], abs=1e-4)
    assert scaled.std(axis=0) == pytest.approx([1, 1, 1, 0], abs=1e-4)


def test_standardized_channels_have_mean_0_and_deviation_1() -> None:
    x = np.random.default_rng(0).integers(0, [100, 200, 256], (50, 32, 32, 3)).astype(np.uint8)

    contract = fit_statistics(build_image_contract(scale="standardize"), x)

    scaled = contract.normalisation.apply(x.astype(np.float32))
    assert scaled.mean(axis=(0, 1, 2)) == pytest.approx([0, 0, 0], abs=1e-4)
    assert scaled.std(axis=(0, 1, 2)) == pytest.approx([1, 1, 1], abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_statistics_of_images_are_those_of_numpy(tmp_path: Path, channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (150, 8, 9, channels), dtype=np.uint8)
    x[..., -1] = 7
    np.save(tmp_path / "x.npy", x)
    rows = np.arange(0, 150, 2)
    contract = build_image_contract(scale="standardize")

    for images in (x[rows], MappedRows(tmp_path / "x.npy", rows)):
        normalisation = fit_statistics(contract, images).normalisation
        assert normalisation.offset == pytest.approx(x[rows].mean(axis=(0, 1, 2)), rel=1e-12)
        assert normalisation.divisor[:-1] == pytest.approx(x[rows].std(axis=(0, 1, 2))[:-1], rel=1e-12)
        assert normalisation.divisor[-1] == 1


@pytest.mark.parametrize(
    ("info", "options", "pointer"),
    [
        (TABLE, {"size": (8, 8)}, "#/preprocessing/size"),
        (TABLE, {"color": "rgb"}, "#/preprocessing/color"),
        (TABLE, {"scale": "unit"}, "#/preprocessing/scale"),
        (GRAY, {"background": (1, 2, 3)}, "#/preprocessing/background"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(info: DatasetInfo, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_contract(Preprocessing(**options), info)

    assert refused.value.faults[0].pointer == pointer


def test_a_table_is_not_scaled_by_default() -> None:
    contract = build_contract(Preprocessing(), TABLE)
    x: NDArray[np.float32] = np.array([[1, 2, 3, 4]], np.float32)

    assert isinstance(contract, NumbersContract)
    assert np.array_equal(contract.normalisation.apply(x), x)
