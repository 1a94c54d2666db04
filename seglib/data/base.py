"""The base of every data set: files in, uint8 arrays out, nothing remembered between samples."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator that augments sample `index` in `epoch`: a function of the three numbers (each >= 0) alone."""
    return np.random.default_rng((seed, epoch, index))


class SegmentationDataset(Dataset):
    """Images and label maps read from files.

    A sample depends on (seed, epoch, index) and the files alone, so that neither the number of workers nor an
    interruption changes it.

    Args:
        files: (image, label) paths; the label is a palette or 8-bit grey PNG of class indices.
        classes: the K class names, index 0 first; at most 255.
        palette: (256, 3) uint8 RGB, one colour for each label value.
        transform: `(image, label, rng) -> (image, label)` on uint8 arrays, or None.
        seed: >= 0; keys the random part of the transform.
        names: an id for each sample; None takes the image files' names without the suffix.

    Attributes:
        classes, num_classes, palette, ignore_index (255, void), names, files, transform, seed.
    """

    ignore_index = 255

    def __init__(
        self,
        files: Sequence[tuple[Path, Path]],
        classes: Sequence[str],
        palette: np.ndarray,
        transform: Transform | None = None,
        seed: int = 0,
        names: Sequence[str] | None = None,
    ) -> None:
        if not 1 <= len(classes) <= self.ignore_index:
            raise ValueError(f"classes: expected 1 to {self.ignore_index} names, found {len(classes)}")
        if palette.shape != (256, 3) or palette.dtype != np.uint8:
            raise ValueError(f"palette: expected (256, 3) uint8, found {palette.shape} {palette.dtype}")
        if names is not None and len(names) != len(files):
            raise ValueError(f"names: expected one for each of the {len(files)} files, found {len(names)}")
        self.files = [(Path(image), Path(label)) for image, label in files]
        self.names = [image.stem for image, _ in self.files] if names is None else list(names)
        self.classes = tuple(classes)
        self.palette = palette
        self.transform = transform
        self.seed = seed

    @property
    def num_classes(self) -> int:
        """K, void not counted."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: Sequence[int]) -> "SegmentationDataset":
        """The same data set with these samples alone, in this order. Raises IndexError: no such sample."""
        chosen = copy.copy(self)
        chosen.files = [self.files[index] for index in indices]
        chosen.names = [self.names[index] for index in indices]
        return chosen

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What is on the disk.

        Returns:
            image (H, W, 3) uint8 RGB and label (H, W) uint8, class indices with 255 = void.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file cannot be decoded, the label's size is not the image's, or a label value is no class.
        """
        image_path, label_path = self.files[index]
        image, label = self.read_image(image_path), self.read_label(label_path)
        if label.shape != image.shape[:2]:
            raise ValueError(
                f"{label_path}: the label is {_size(label)}, its image {image_path.name} is {_size(image)} "
                "(width x height); expected equal sizes"
            )
        # uint8 wraps: void, 255, becomes 0, and every class k becomes k + 1 <= K
        if (label + np.uint8(1)).max() > self.num_classes:
            wrong = [int(value) for value in np.unique(label) if self.num_classes <= value != self.ignore_index]
            raise ValueError(
                f"{label_path}: holds the label values {wrong}; expected 0 to {self.num_classes - 1} for "
                f"{self.num_classes} classes, or {self.ignore_index} for void"
            )
        return image, label

    def read_image(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 RGB of an image file; raises as `read` does."""
        with _opened(path) as image:
            return _pixels(image if image.mode == "RGB" else _decoded(image, path).convert("RGB"), path)

    def read_label(self, path: Path) -> np.ndarray:
        """(H, W) uint8 of a label file, indices as stored, never colours; raises as `read` does."""
        with _opened(path) as image:
            if image.mode not in ("P", "L"):
                raise ValueError(
                    f"{path}: an image of mode {image.mode}; expected class indices, a palette (P) or 8-bit grey (L) "
                    "image. Was the mask converted to colours?"
                )
            return _pixels(image, path)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Sample `index`, or `(epoch, index)`, after the transform; an index alone is of epoch 0. Raises as `read`."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        index = range(len(self))[index]
        image, label = self.read(index)
        if self.transform is None:
            return image, label
        return self.transform(image, label, sample_rng(self.seed, epoch, index))


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, though the data set lists it") from None
    except OSError as error:
        raise ValueError(f"{path}: not an image that can be read ({error})") from error


def _decoded(image: Image.Image, path: Path) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's JPEG and PNG readers raise on damaged data
        raise ValueError(f"{path}: damaged or cut off ({error})") from error
    return image


def _pixels(image: Image.Image, path: Path) -> np.ndarray:
    return np.array(_decoded(image, path))  # a copy: torch warns about arrays that cannot be written to


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def fold_indices(length: int, folds: int, seed: int = 0) -> list[list[int]]:
    """Splits range(length) at random into `folds` parts whose sizes differ by at most one, each in ascending order.

    Train on all parts but one and validate on that one; every sample is then validated on exactly once.

    Raises:
        ValueError: fewer than two folds, or more than samples.
    """
    if not 2 <= folds <= length:
        raise ValueError(f"folds = {folds}; expected 2 to {length}, the number of samples")
    order = np.random.default_rng((seed, length, folds)).permutation(length)
    return [sorted(part.tolist()) for part in np.array_split(order, folds)]
