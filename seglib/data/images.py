"""Image files: one way to open them, and one way to say why not."""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from seglib.files import read_text, some

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
PixelRange = tuple[float, float]  # the values that become 0 and 255
ONE_PAGE = "expected one picture: save each page as a file, or the pages of one picture as the channels of an .npy file"


def open_image(path: Path) -> Image.Image:
    """Opens and decodes an image file, turned as its EXIF tag asks; info["stored"] says how the file stores pixels.

    Raises FileNotFoundError; ValueError if it is damaged, cut off, too large for Pillow, several pages, or no image.
    """
    try:
        with Image.open(path) as image:
            pages = _count_pages(image)
            image.info["stored"] = repr([tile[3] for tile in image.tile])  # such as ['RGB;16B']
            image.load()
            image.info["turned"] = image.getexif().get(0x0112, 1) != 1
            ImageOps.exif_transpose(image, in_place=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Image.DecompressionBombError as error:
        cure = "tile it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        raise ValueError(f"{path}: too large to be opened without being asked ({error}); {cure}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise many kinds on damaged data, TypeError and KeyError too
        raise ValueError(f"{path}: not an image that can be read; damaged or cut off? ({error})") from error
    if pages > 1:
        raise ValueError(f"{path}: {pages} pages of one size; {ONE_PAGE}")
    return image


def _count_pages(image: Image.Image) -> int:
    """Counts pages or frames of one size: smaller ones are previews, as in an MPO of a telephone."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return 1
    size = image.size
    image.seek(1)
    same = image.size == size
    image.seek(0)
    return image.n_frames if same else 1


def read_rgb(path: Path, pixel_range: PixelRange | None = None) -> np.ndarray:
    """Reads (H, W, 3) uint8 RGB. Raises as `read_channels` does."""
    return read_channels(path, 3, pixel_range)


def read_channels(path: Path, channels: int, pixel_range: PixelRange | None = None) -> np.ndarray:
    """Reads (H, W, channels) uint8: grey for one channel, RGB for three, and as stored for other numbers.

    Args:
        path: an image file, a .npy file of (H, W, C), or a TIFF of any number of channels.
        pixel_range: for values of more than 8 bits: those that become 0 and 255. None refuses such files.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, has other channels or more than 8 bits in each, or values beyond pixel_range.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy" or (channels not in (1, 3) and suffix in (".tif", ".tiff")):
        pixels = _read_array(path)
    else:
        image = open_image(path)
        deep = image.mode[0] in "IF"
        if ";16" in image.info["stored"] and not deep:  # Pillow keeps the upper 8 of the 16 bits
            pixels = _read_array(path)
            if image.info["turned"]:
                raise ValueError(f"{path}: EXIF turns a picture of 16 bits a channel; save it upright")
        else:
            mode = image.mode if deep else {1: "L", 3: "RGB"}.get(channels, image.mode)
            pixels = np.array(image if image.mode == mode else image.convert(mode))  # a copy that torch may write to
    if (pixels.dtype == np.uint8) != (pixel_range is None):
        values = f"{8 * pixels.dtype.itemsize} bits a channel, values {pixels.min()} to {pixels.max()}"
        if pixel_range is not None:
            raise ValueError(f"{path}: {values}; expected more bits, which pixel_range = {list(pixel_range)} scales")
        cure = f"scale it, or set pixel_range = [{pixels.min()}, {pixels.max()}] for all pictures in classes.toml"
        raise ValueError(f"{path}: {values}; expected 8 bits: {cure}")
    if pixel_range is not None:
        low, high = pixel_range
        if not (low <= pixels.min() and pixels.max() <= high):
            raise ValueError(f"{path}: values {pixels.min()} to {pixels.max()}; expected {low} to {high}, pixel_range")
        pixels = np.rint((pixels.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3 if channels == 3 else 1, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != channels:
        raise ValueError(f"{path}: an array {pixels.shape}; expected (height, width, {channels}), in_channels last")
    return pixels


def _read_array(path: Path) -> np.ndarray:
    import imagecodecs  # here: common files do without it

    pages = None
    try:
        found = np.load(path) if path.suffix.lower() == ".npy" else imagecodecs.imread(path)
        if path.suffix.lower() in (".tif", ".tiff"):
            pages = imagecodecs.imread(path, index=None)  # all that have the first one's shape
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except MemoryError:
        raise
    except Exception as error:  # imagecodecs' own are RuntimeErrors, a damaged header's a TokenError
        raise ValueError(f"{path}: not an array that can be read; damaged or cut off? ({error})") from error
    if pages is not None and pages.ndim > found.ndim:
        raise ValueError(f"{path}: {len(pages)} pages of one size; {ONE_PAGE}")
    if not isinstance(found, np.ndarray) or found.size == 0 or found.dtype.kind not in "buif":
        raise ValueError(f"{path}: expected an array of numbers, found {getattr(found, 'dtype', type(found))}")
    return found


def open_mask(path: Path) -> Image.Image:
    """Opens a mask as `open_image` does; raises ValueError too where the file does not keep the values drawn."""
    image = open_image(path)
    if image.format in LOSSY or image.info.get("compression") in ("jpeg", "webp"):
        cure = "it holds values that nobody drew: export the mask again, as PNG"
        raise ValueError(f"{path}: a mask in {image.format} format, which may be lossy; {cure}")
    if (bits := re.search(r"'L;([24])", image.info["stored"])) and np.array(image).any():
        cure = "whether a sample is a class or a shade, the file does not say: save it with 8 bits"
        raise ValueError(f"{path}: a grey mask of {bits[1]} bits; expected 8: {cure}")
    return image


def read_indices(path: Path, palette: np.ndarray | None = None) -> np.ndarray:
    """Reads (H, W) uint8 of a palette or 8-bit grey mask: indices as stored.

    Args:
        palette: (256, 3) uint8, the colours that the indices in use must have in a palette file, unless they are greys.

    Raises as `open_mask` does; ValueError for other modes, or if an index has another colour.
    """
    image = open_mask(path)
    if image.mode not in ("P", "L"):
        cause = "" if image.mode == "1" or image.mode[0] in "IF" else ". Was the mask converted to colours?"
        expected = f"class indices, a palette (P) or 8-bit grey (L) image{cause}"
        raise ValueError(f"{path}: an image of mode {image.mode}; expected {expected}")
    indices = np.array(image)
    if palette is not None and image.mode == "P" and bytes(image.getpalette()) != palette.tobytes():
        stored, used = palette_of(image), np.unique(indices)
        wrong = used[(stored[used] != palette[used]).any(axis=1)]
        if wrong.size and (stored[used] != used[:, None]).any():
            found = f"its palette shows index {wrong[0]} as {tuple(stored[wrong[0]].tolist())}"
            expected = f"the data set's as {tuple(palette[wrong[0]].tolist())}"
            cure = "a program may have renumbered the colours; save it with the data set's palette, or as 8-bit grey"
            raise ValueError(f"{path}: {found}, {expected}; {cure}")
    return indices


def palette_of(image: Image.Image) -> np.ndarray:
    """Returns the colours of a palette image, (256, 3); -1 where the file has none."""
    stored = np.array(image.getpalette(), int).reshape(-1, 3)[:256]
    return np.concatenate([stored, np.full((256 - len(stored), 3), -1)])


def read_list(path: Path) -> list[str]:
    """Reads a list of image ids, one per line, in UTF-8. Raises FileNotFoundError; ValueError if it is no such list."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list of image ids")
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path}: lists no image; expected at least one")
    if repeated := [name for name, number in Counter(names).items() if number > 1]:
        raise ValueError(f"{path}: lists {some(repeated)} more than once")
    return names


def nearest_name(name: str, present: Collection[str]) -> str:
    """Names a file of almost the same name: " (b_2.JPG is there)"; "" without one."""
    stem = Path(name).stem.lower()
    for other in sorted(present):
        short, long = sorted((stem, Path(other).stem.lower()), key=len)
        if short == long or re.match(rf"{re.escape(short)}[_\- .]", long):
            return f" ({other} is there)"
    return ""


def check_files(paths: Sequence[Path], hint: str = "") -> None:
    """Raises FileNotFoundError if some of the files are missing; the message names them and ends with the hint."""
    # One listing per folder, because asking for each file takes minutes on a network drive.
    present = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in {p.parent for p in paths}}
    if missing := [path for path in paths if path.name not in present[path.parent]]:
        near = [nearest_name(path.name, present[path.parent]) for path in missing[:3]] + [""] * len(missing[3:])
        names = [path.name + other for path, other in zip(missing, near, strict=True)]
        text = some(names, limit=3) + (hint and f"; {hint}")
        raise FileNotFoundError(f"{missing[0].parent}: lacks {len(missing)} of the {len(paths)} files listed: {text}")
