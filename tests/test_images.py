"""Image files to arrays, and the files of folders and zips: what comes out, and what is refused."""

import io
import struct
import threading
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from data_files import encoded, fails, noise, write

from imbal_jax.data import files, images
from imbal_jax.data.images import Unusable


def test_lossless_images_come_back_as_they_are():
    grey, colour = noise(0, 7, 9), noise(1, 7, 9, 3)
    for form in ("PNG", "BMP", "TIFF", "PPM"):
        assert (images.decode(encoded(grey, form))[..., 0] == grey).all()
        back = images.decode(encoded(colour, form))
        assert back.dtype == np.uint8 and (back == colour).all()


def test_channels():
    grey, colour = noise(0, 6, 6), noise(1, 6, 6, 3)
    assert images.decode(encoded(np.stack([grey] * 3, axis=-1))).shape == (6, 6, 1)  # stored as colour, has none
    assert (images.decode(encoded(grey), channels=3) == grey[..., None]).all()
    one = images.decode(encoded(colour), channels=1)[..., 0]
    np.testing.assert_allclose(one, colour @ [0.299, 0.587, 0.114], atol=1)


def test_deep_images_are_scaled_and_not_cut():
    deep = np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)
    np.testing.assert_allclose(images.decode(encoded(deep))[..., 0], deep / 257, atol=0.51)
    with pytest.raises(Unusable, match="floating point"):
        images.decode(encoded(np.ones((4, 4), np.float32), "TIFF"))


def test_palettes_and_transparency():
    from PIL import Image

    colour = np.repeat(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8), 2, axis=0)
    content = io.BytesIO()
    palette = Image.fromarray(colour).quantize(4)
    red = palette.getpixel((0, 0))  # its index
    palette.save(content, "PNG", transparency=bytes(128 if index == red else 255 for index in range(2)))
    on_white = colour.astype(float)
    on_white[:, 0] += 127 / 255 * (255 - on_white[:, 0])  # of opacity 128
    np.testing.assert_allclose(images.decode(content.getvalue()), on_white, atol=1)
    faint = images.decode(encoded(np.dstack([colour, np.full((2, 2), 9, np.uint8)])))
    np.testing.assert_allclose(faint, colour * (9 / 255) + 246, atol=1)


@pytest.mark.parametrize(("below", "shape", "around"), [(0, 0, 255), (255, 255, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_shape_in_the_alpha_channel_is_seen(below, shape, around, mode):
    from PIL import Image

    inside = np.zeros((8, 8), np.uint8)
    inside[2:5, 3:7] = 255
    image, content = Image.new("L", (8, 8), below), io.BytesIO()
    image.putalpha(Image.fromarray(inside))
    if mode == "P":
        palette = Image.fromarray((inside > 0).astype(np.uint8), "L").convert("P")
        palette.putpalette([below] * 6)
        palette.save(content, "PNG", transparency=b"\x00\xff")
    else:
        image.convert(mode).save(content, "PNG")
    assert (images.decode(content.getvalue())[..., 0] == np.where(inside, shape, around)).all()


def test_a_range_becomes_black_and_white():
    deep = np.linspace(0, 4095, 48).reshape(6, 8).astype(np.uint16)
    survey = images.survey(encoded(deep))
    assert survey == (6, (0.0, 4095.0)) and images.depth([survey, images.Survey(9, None)]) == (0.0, 4095.0)
    np.testing.assert_allclose(images.decode(encoded(deep), deep=(0, 4095))[..., 0], deep * (255 / 4095), atol=0.51)
    assert images.depth([images.survey(encoded(deep * 16))]) is None  # all 16 bits are used
    eight = noise(0, 6, 8) // 16
    assert images.decode(encoded(eight), deep=(0, 4095)).max() == 15
    assert (images.decode(encoded(eight), limits=(0, 15))[..., 0] == np.rint(eight / 15 * 255)).all()
    colour = noise(1, 6, 6, 3)
    assert (images.decode(encoded(colour), limits=(100, 200)) == np.rint(np.clip((colour - 100.0) / 100, 0, 1) * 255)).all()
    ones = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(images.decode(encoded(ones, "TIFF"), limits=(0, 1))[..., 0], ones * 255, atol=0.51)


def test_a_hot_pixel_does_not_darken_a_set():
    deep = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    deep[3, 3] = 65535
    assert images.depth([images.survey(encoded(deep))])[1] < 4096


def test_what_cannot_be_used_is_not_kept_in_memory():
    damaged = [encoded(noise(0, 40, 40))[:-200]] * 3
    bad = images.in_parallel(images.decode, damaged)
    assert all(isinstance(one, Unusable) and one.__traceback__ is None and one.__context__ is None for one in bad)


def test_resizing_is_antialiased_keeps_the_aspect_and_crops_the_middle():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small = images.decode(encoded(stripes), size=(8, 8))
    assert small.shape == (8, 8, 1) and np.abs(small.astype(int) - 127).max() < 12  # taking every eighth would give 0
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 15:25] = 200
    assert (images.decode(encoded(wide), size=(10, 10)) == 200).all()
    assert images.decode(encoded(noise(0, 5, 3)), size=(8, 8)).shape == (8, 8, 1)


def test_large_jpegs_are_decoded_small_and_alike():
    ramp = np.add.outer(np.arange(800), np.arange(1000)).astype(np.float64) / 1800 * 255
    content = encoded(ramp.astype(np.uint8), "JPEG", quality=95)
    small = images.decode(content, size=(20, 20))[..., 0]
    centre = ramp[:, 100:900].reshape(20, 40, 20, 40).mean(axis=(1, 3))
    np.testing.assert_allclose(small, centre, atol=3)


def test_images_stand_upright():
    from PIL import Image

    image, turned = Image.fromarray(noise(0, 8, 16)), io.BytesIO()
    image.save(turned, "PNG", exif=_orientation(6))
    assert (images.decode(turned.getvalue())[..., 0] == np.rot90(noise(0, 8, 16), -1)).all()
    assert images.survey(turned.getvalue()).side == 8


def _orientation(value):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def claiming(width, height):
    """A PNG whose header promises so many pixels, and which has hardly any data."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


JPEG = encoded(noise(0, 64, 64, 3), "JPEG")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"no image", "is not a readable image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a readable image"),
        (JPEG[: len(JPEG) // 2], "is truncated or damaged"),
        (encoded(noise(0, 64, 64))[:-900], "is truncated or damaged"),
        (claiming(100, 100), "is truncated or damaged"),
        (claiming(8000, 8000), "has 8000x8000 pixels, more than 50,000,000"),
        (claiming(10_000, 10_000), "pixels"),
        (claiming(60_000, 60_000), "pixels"),
    ],
)
def test_what_cannot_be_used_says_why(content, why):
    with pytest.raises(Unusable, match=why):
        images.decode(content, size=(8, 8))


def test_the_limit_of_pixels():
    assert images.decode(encoded(noise(0, 10, 10)), most_pixels=100).shape == (10, 10, 1)
    with pytest.raises(Unusable, match="10x11 pixels, more than 100"):
        images.decode(encoded(noise(0, 11, 10)), most_pixels=100)


def test_in_parallel_keeps_the_order_and_the_reasons():
    threads = set()

    def one(content):
        threads.add(threading.get_ident())
        return images.decode(content)[0, 0, 0]

    values = list(range(60))
    results = images.in_parallel(one, [encoded(np.full((2, 2), value, np.uint8)) if value % 7 else b"" for value in values])
    assert [result for result in results if not isinstance(result, Unusable)] == [value for value in values if value % 7]
    assert str(results[0]) == "is empty" and threading.get_ident() not in threads
    with warnings.catch_warnings(record=True) as told:
        assert "pixels" in str(images.in_parallel(images.decode, [claiming(10_000, 10_000)])[0])
    assert not told
    with pytest.raises(ZeroDivisionError):
        images.in_parallel(lambda item: 1 // item, [1, 0])


def test_alike():
    x = noise(0, 4, 5, 5, 1)[[0, 1, 0, 2, 1, 3]]
    assert images.alike(x).tolist() == [0, 1, 0, 3, 1, 5]


# --- The files of folders and zips ------------------------------------------------------------------------------------

NAMES = {"a/1.png": b"one", "a/b/2.png": b"two", "top.txt": b"", "a/.hidden": b"x", "__MACOSX/a/._1.png": b"x", ".git/c": b"x"}


@pytest.mark.parametrize("place", ["folder", "file.zip"])
def test_folder_and_zip_are_read_alike(tmp_path, place):
    with files.opened(write(tmp_path / place, NAMES)) as tree:
        assert [(entry.name, entry.size) for entry in tree.entries] == [("a/1.png", 3), ("a/b/2.png", 3), ("top.txt", 0)]
        assert tree.folders == {"a", "a/b"}
        assert [tree.read(entry) for entry in tree.entries[:2]] == [b"one", b"two"]
        with pytest.raises(Unusable, match="is empty"):
            tree.read(tree.entries[2])
        with pytest.raises(Unusable, match="more than 268,435,456"):
            tree.read(tree.entries[0]._replace(size=2**30))


def test_links_are_followed_in_a_folder_and_circles_are_not(tmp_path):
    write(tmp_path / "elsewhere", {"3.png": b"three"})
    write(tmp_path / "d", NAMES)
    (tmp_path / "d" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "d" / "a" / "round").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "lost.png").symlink_to(tmp_path / "nowhere")
    with files.opened(tmp_path / "d") as tree:
        assert [entry.name for entry in tree.entries] == ["a/1.png", "a/b/2.png", "linked/3.png", "top.txt"]


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", "C:/x.png", "..\\x.png", "\\x.png"])
def test_zips_that_lead_elsewhere_are_refused(tmp_path, name):
    path = write(tmp_path / "d.zip", {"a/1.png": b"x", name: b"x"})
    with fails(path, "cannot be used", repr(name)), files.opened(path):
        pass


def test_zips_with_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with fails("a/link.png", "is a link"), files.opened(tmp_path / "d.zip"):
        pass


def test_damaged_zips(tmp_path):
    path = write(tmp_path / "d.zip", {"a/1.png": bytes(1000), "a/2.png": b"two"})
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(1000), bytes(999) + b"x"))
    with files.opened(path) as tree:
        with pytest.raises(Unusable, match="cannot be unpacked: Bad CRC-32"):
            tree.read(tree.entries[0])
        assert tree.read(tree.entries[1]) == b"two"
    for damaged in (content[:-30], b"", b"no zip"):
        path.write_bytes(damaged)
        with fails(path, "cannot read", "as a zip"), files.opened(path):
            pass
