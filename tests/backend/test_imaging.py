"""Files of strangers become defined pixels, or one clear refusal; whatever they do, the next file works."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from recolabel import errors
from recolabel.imaging import DecodedImage, Decoder
from recolabel.settings import Settings

PICTURE = np.stack(np.meshgrid(np.arange(24) * 10, np.arange(16) * 15, indexing="xy"), -1)
PICTURE = np.concatenate([PICTURE, np.full((16, 24, 1), 77)], -1).astype(np.uint8)
"""(16, 24, 3): red grows to the right, green downwards, so every turn is noticed."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    with Decoder(Settings(data=tmp_path_factory.mktemp("data"))) as decoder:
        yield decoder


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture() -> Image.Image:
    return Image.fromarray(PICTURE)


def canonical_pixels(decoded: DecodedImage, original: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(decoded.canonical or original)) as image:
        assert image.size == (decoded.width, decoded.height)
        assert image.get_format_mimetype() == decoded.canonical_media_type
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_plain_file_is_its_own_canonical_file(decoder: Decoder, kind: str) -> None:
    content = encoded(picture(), kind, **({"lossless": True} if kind == "WEBP" else {}))

    decoded = decoder.decode(content, f"a.{kind.lower()}")

    assert decoded.canonical is None
    assert decoded.canonical_media_type == decoded.original_media_type == f"image/{kind.lower()}"
    assert (decoded.width, decoded.height) == (24, 16)


def test_the_hash_is_of_size_and_pixels_not_of_the_file(decoder: Decoder) -> None:
    expected = hashlib.sha256(b"24x16:" + PICTURE.tobytes()).hexdigest()

    hashes = {
        decoder.decode(encoded(picture(), kind, **options), f"a.{kind}").sha256
        for kind, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}))
    }

    assert hashes == {expected}


def test_a_file_and_its_bytes_give_the_same(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))

    assert decoder.decode(path, "a.png") == decoder.decode(path.read_bytes(), "a.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture(decoder: Decoder, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), kind, exif=exif.tobytes(), **({"lossless": True} if kind == "WEBP" else {}))

    decoded = decoder.decode(content, f"a.{kind.lower()}")

    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(canonical_pixels(decoded, content), expected)
    assert (decoded.canonical is None) == (orientation == 1 and kind != "TIFF")
    if decoded.canonical:
        with Image.open(io.BytesIO(decoded.canonical)) as image:
            assert not image.getexif(), "a browser would turn it once more"


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(decoder: Decoder, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), "PNG", exif=exif.tobytes())

    assert np.array_equal(canonical_pixels(decoder.decode(content, "a.png"), content), PICTURE)


def half_clear() -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((24, 16)))
    return image


def over_white(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def palette_with_clear_colour() -> Image.Image:
    image = picture().quantize(16)
    image.info["transparency"] = 3
    return image


GREY_16 = np.linspace(0, 65_535, 16 * 24).round().reshape(16, 24).astype(np.uint16)
GREY_RAMP = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)

MODES = [
    # name, image, file kind, expected grey or RGB pixels, largest difference
    ("16-bit grey PNG: the full range is scaled", Image.fromarray(GREY_16), "PNG", np.round(GREY_16 / 257), 0),
    ("16-bit grey TIFF: the same", Image.fromarray(GREY_16), "TIFF", np.round(GREY_16 / 257), 0),
    ("8-bit grey stays grey", Image.fromarray(GREY_RAMP), "PNG", GREY_RAMP, 0),
    ("1 bit becomes black and white", picture().convert("1"), "PNG", np.asarray(picture().convert("1")) * 255.0, 0),
    ("palette is expanded", picture().quantize(16), "PNG", np.asarray(picture().quantize(16).convert("RGB")), 0),
    ("alpha is laid over white", half_clear(), "PNG", over_white(half_clear()), 1),
    ("alpha in WebP as well", half_clear(), "WEBP", over_white(half_clear()), 1),
    ("a clear palette colour as well", palette_with_clear_colour(), "PNG", over_white(palette_with_clear_colour()), 0),
    ("grey with alpha as well", half_clear().convert("LA"), "PNG", over_white(half_clear().convert("LA")), 1),
    ("CMYK JPEG becomes RGB", picture().convert("CMYK"), "JPEG", PICTURE, 24),
    ("CMYK TIFF becomes RGB", picture().convert("CMYK"), "TIFF", PICTURE, 2),
]


@pytest.mark.parametrize(("name", "image", "kind", "expected", "tolerance"), MODES, ids=[row[0] for row in MODES])
def test_every_kind_of_pixel_has_a_defined_colour(
    decoder: Decoder,
    name: str,
    image: Image.Image,
    kind: str,
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    tolerance: int,
) -> None:
    content = encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))

    pixels = canonical_pixels(decoder.decode(content, f"a.{kind.lower()}"), content).astype(float)

    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert np.abs(pixels - expected).max() <= tolerance


def test_of_an_animation_the_first_frame_counts(decoder: Decoder) -> None:
    content = encoded(picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (24, 16), "red")])

    decoded = decoder.decode(content, "a.png")

    assert decoded.canonical is not None, "a browser would play it"
    assert np.array_equal(canonical_pixels(decoded, content), PICTURE)


def test_a_thumbnail_is_a_small_jpeg(decoder: Decoder) -> None:
    content = encoded(Image.new("RGB", (1000, 500), "green"), "PNG")

    with Image.open(io.BytesIO(decoder.decode(content, "a.png").thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (256, 128))


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises many pixels and brings none."""
    chunks = b""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for name, content in ((b"IHDR", body), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return b"\x89PNG\r\n\x1a\n" + chunks


REFUSALS = [
    # what, content, name, error, part of the sentence
    ("text", b"hello, this is not a picture", "a.jpg", errors.NotAnImage, "not a JPEG"),
    ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", errors.NotAnImage, "not a JPEG"),
    ("GIF", encoded(picture().quantize(8), "GIF"), "a.gif", errors.NotAnImage, "not a JPEG"),
    ("zero bytes", b"", "a.png", errors.ImageEmpty, "no bytes"),
    ("cut JPEG", encoded(picture().resize((640, 480)), "JPEG")[:3000], "a.jpg", errors.ImageDamaged, "ends too early"),
    ("cut PNG", encoded(picture().resize((640, 480)), "PNG")[:900], "a.png", errors.ImageDamaged, "ends too early"),
    ("a head without a body", b"\xff\xd8\xff\xe0", "a.jpg", errors.ImageDamaged, "damaged"),
    ("30,000 x 30,000", png_header(30_000, 30_000), "a.png", errors.ImageTooLarge, "30,000 x 30,000"),
    ("one long side", png_header(40_000, 2), "a.png", errors.ImageTooLarge, "a side"),
    ("another ending", encoded(picture(), "PNG"), "a.jpg", errors.BadName, "content is PNG"),
    ("floating point", encoded(Image.new("F", (4, 4)), "TIFF"), "a.tif", errors.ImageUnsupported, "8 or 16 bits"),
    ("32-bit integers", encoded(Image.new("I", (4, 4)), "TIFF"), "a.tif", errors.ImageUnsupported, "8 or 16 bits"),
]


@pytest.mark.parametrize(("what", "content", "name", "error", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_what_cannot_be_taken_is_refused_with_its_reason(
    decoder: Decoder, what: str, content: bytes, name: str, error: type[errors.ImageRefused], words: str
) -> None:
    with pytest.raises(error) as caught:
        decoder.decode(content, name)

    assert type(caught.value) is error
    assert words in caught.value.sentence
    assert decoder.decode(encoded(picture(), "PNG"), "next.png").width == 24


NAMES = [
    ("plain.png", True, "the usual"),
    ("no ending", True, "the content decides"),
    ("UPPER.PNG", True, "endings in capitals"),
    ("day 1/a.png", True, "a folder inside"),
    ("\N{SLICE OF PIZZA} Größe \u6f22.png", True, "emoji and all scripts"),
    ("x" * 251 + ".png", True, "255 bytes"),
    ("x" * 252 + ".png", False, "256 bytes"),
    ("\N{SLICE OF PIZZA}" * 63 + ".png", False, "256 bytes in 67 letters"),
    ("../../etc/a.png", False, "out of the folder"),
    ("a/../../b.png", False, "out of the folder, later"),
    ("..\\a.png", False, "the same with the other slash"),
    ("/etc/a.png", False, "from the root"),
    ("C:\\a.png", False, "from a drive"),
    ("a\0.png", False, "a control character"),
    ("a\n.png", False, "another"),
    (" ", False, "empty"),
]


@pytest.mark.parametrize(("name", "accepted", "remark"), NAMES, ids=[row[2] for row in NAMES])
def test_a_name_is_data_and_never_leads_out_of_its_folder(
    decoder: Decoder, name: str, accepted: bool, remark: str
) -> None:
    content = encoded(picture(), "PNG")

    if accepted:
        assert decoder.decode(content, name).width == 24
    else:
        with pytest.raises(errors.BadName):
            decoder.decode(content, name)


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with Decoder(Settings(data=tmp_path, max_file_bytes=100)) as decoder, pytest.raises(errors.FileTooLarge):
        decoder.decode(encoded(picture(), "PNG") + bytes(100), "a.png")


MISBEHAVING_CHILD = """
import os, sys, time
from recolabel import imaging
honest = imaging.decode_bytes
def decode_bytes(content, **limits):
    if content.endswith(b"hang"): time.sleep(60)
    if content.endswith(b"spin"):
        while True: pass
    if content.endswith(b"crash"): os.kill(os.getpid(), 11)
    if content.endswith(b"greed"): bytearray(8 * 1024**3)
    if content.endswith(b"write"): open("LOOT", "wb", buffering=0).write(b"x")
    return honest(content, **limits)
imaging.decode_bytes = decode_bytes
imaging.child_main(sys.argv[1:])
"""


@pytest.mark.parametrize("misdeed", ["hang", "spin", "crash", "greed", "write"])
def test_a_decoder_that_misbehaves_costs_one_file_only(tmp_path: Path, misdeed: str) -> None:
    # Given a decoder that a file can make hang, spin, crash, eat memory or write to the disk
    settings = Settings(data=tmp_path, decode_seconds=1.0)
    good = encoded(picture(), "PNG")

    # When such a file comes
    child = MISBEHAVING_CHILD.replace("LOOT", str(tmp_path / "loot"))
    with Decoder(settings, command=[sys.executable, "-c", child]) as decoder:
        with pytest.raises(errors.ImageDamaged):
            decoder.decode(good + misdeed.encode(), "bad.png")

        # I expect that the next file is read as if nothing had been
        assert decoder.decode(good, "good.png").width == 24
        assert not any(path.stat().st_size for path in tmp_path.iterdir())


def test_an_image_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    content = encoded(Image.new("RGB", (9000, 9000)), "PNG")

    with Decoder(Settings(data=tmp_path, decode_memory_bytes=256 * 1024**2)) as decoder:
        with pytest.raises(errors.ImageDamaged, match="memory"):
            decoder.decode(content, "big.png")
        assert decoder.decode(encoded(picture(), "PNG"), "next.png").width == 24


def test_many_threads_may_share_a_decoder(decoder: Decoder) -> None:
    contents = [encoded(Image.new("RGB", (10 + n, 5)), "PNG") for n in range(24)]
    widths: list[int] = [0] * 24

    def read(n: int) -> None:
        widths[n] = decoder.decode(contents[n], "a.png").width

    threads = [threading.Thread(target=read, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert widths == [10 + n for n in range(24)]


def test_a_closed_decoder_leaves_no_child_behind(tmp_path: Path) -> None:
    decoder = Decoder(Settings(data=tmp_path))
    decoder.decode(encoded(picture(), "PNG"), "a.png")
    child = decoder._slots.queue[-1]
    assert child is not None

    decoder.close()

    assert child._process.returncode is not None
