"""The base of every data set: files in, uint8 arrays out, nothing remembered between samples."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from seglib.data.images import PixelRange, read_indices, read_rgb

VOID = 255  # void: the label of pixels that are neither trained on nor scored, such as an object's outline

Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Makes the generator that augments sample `index` in `epoch`: a function of only these three numbers."""
    return np.random.default_rng((seed, epoch, index))


class SegmentationDataset(Dataset):
    """Images and label maps read from files.

    A sample depends only on (seed, epoch, index) and the files, not on the workers. The arguments are attributes too.

    Args:
        files: (image, label) paths; the label is a palette or 8-bit grey PNG of class indices, 255 = void.
        classes: the K class names, index 0 first; at most 255.
        palette: (256, 3) uint8 RGB, one colour for each label value.
        transform: `(image, label, rng) -> (image, label)` on uint8 arrays, or None.
        seed: >= 0; keys the random part of the transform.
        names: an id for each sample; None takes the image files' names without the suffix.
    """

    ignore_index = VOID
    pixel_range: PixelRange | None = None  # the values that became 0 and 255, where pictures have more than 8 bits

    def __init__(
        self,
        files: Sequence[tuple[Path, Path]],
        classes: Sequence[str],
        palette: np.ndarray,
        transform: Transform | None = None,
        seed: int = 0,
        names: Sequence[str] | None = None,
    ) -> None:
        if not 1 <= len(classes) <= VOID:
            raise ValueError(f"classes: expected 1 to {VOID} names, found {len(classes)}")
        if palette.shape != (256, 3) or palette.dtype != np.uint8:
            raise ValueError(f"palette: expected (256, 3) uint8, found {palette.shape} {palette.dtype}")
        if names is not None and len(names) != len(files):
            raise ValueError(f"names: expected one for each of the {len(files)} files, found {len(names)}")
        self.files = [(Path(image), Path(label)) for image, label in files]
        self.names = [image.stem for image, _ in self.files] if names is None else list(names)
        self.classes, self.palette = tuple(classes), palette
        self.transform, self.seed = transform, seed

    @property
    def num_classes(self) -> int:
        """K; void does not count."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: Sequence[int]) -> "SegmentationDataset":
        """Returns the same data set with only these samples, in this order."""
        chosen = copy.copy(self)
        chosen.files = [self.files[index] for index in indices]
        chosen.names = [self.names[index] for index in indices]
        return chosen

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a sample as it is on the disk: image (H, W, 3) uint8 RGB, label (H, W) uint8 indices with 255 = void.

        Raises FileNotFoundError; ValueError if a file cannot be decoded, sizes differ, or a label value is no class.
        """
        image_path, label_path = self.files[index]
        image, label = self.read_image(image_path), self.read_label(label_path)
        if image.ndim != 3 or label.shape != image.shape[:2]:
            found = f"a label {label.shape}, its image {image_path.name} is {image.shape}"
            raise ValueError(f"{label_path}: {found}; expected equal sizes, (H, W) and (H, W, channels)")
        # uint8 wraps: void, 255, becomes 0, and every class k becomes k + 1 <= K
        if (label + np.uint8(1)).max() > self.num_classes:
            self.check_values(label_path, np.unique(label))
        return image, label

    def check_values(self, path: Path, values: np.ndarray) -> None:
        """Raises ValueError if values of a label file are neither classes nor void."""
        if wrong := [int(value) for value in values if self.num_classes <= value != VOID]:
            expected = f"expected 0 to {self.num_classes - 1} for {self.num_classes} classes, or {VOID} for void"
            raise ValueError(f"{path}: holds the label values {wrong}; {expected}")

    def read_image(self, path: Path) -> np.ndarray:
        """Reads (H, W, 3) uint8 RGB of an image file; raises as `read` does."""
        return read_rgb(path)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8 class indices of a label file; raises as `read` does, and if its palette is another."""
        return read_indices(path, self.palette)

    def stamp(self, path: Path) -> str:
        """Returns what changes when a label file does: bytes and modification time. Raises FileNotFoundError."""
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns sample `index`, or `(epoch, index)`, after the transform; an index by itself is of epoch 0."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        index = range(len(self))[index]
        sample = self.read(index)
        return sample if self.transform is None else self.transform(*sample, sample_rng(self.seed, epoch, index))
