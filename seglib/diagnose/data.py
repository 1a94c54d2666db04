"""What files, labels and loader of a data set get wrong, before anything is trained."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import KDTree

from seglib.data.base import VOID
from seglib.data.fingerprint import describe_binary
from seglib.diagnose.report import Finding, find, find_by_messages
from seglib.diagnose.samples import MIRRORS, THUMB, Arrays, Scan, Source, draw_edges, find_edges, open_stored
from seglib.files import some
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

RARE = 0.005  # share of the labelled pixels
COPY, ALIKE = 1.0, 8.0  # differences of thumbnails, in grey levels
REACH = 40  # pixels by which image and label are shifted
GOOD = 0.35  # mean gradient on label edges, in deviations, of labels that fit
SIDE = 512  # of the part of a large sample that is looked at
BORDERS = (np.s_[-1:], np.s_[:, -1:], np.s_[:1], np.s_[:, :1])


def check_labels(scan: Scan, names: Sequence[str], void: int | None, own: bool) -> Iterator[Finding]:
    """Checks the values of all labels; `names`: of the K classes, () if unknown; `own`: read as this package reads."""
    number, pixels, classes = len(scan.rows), scan.pixels, len(names)
    yield from find_by_messages(scan.messages, number)
    palettes = {row.palette: name for name, row in zip(scan.names, scan.rows, strict=True) if row.palette}
    longest = max(palettes, key=len, default=b"")
    other = [name for colours, name in palettes.items() if not longest.startswith(colours)]
    if other and (scan.messages or not own):
        shown = some([Path(name).name for name in (palettes[longest], *other)], 3)
        yield find("palette_differs", palettes=len(palettes), number=number, names=shown)
    for what, name in (("turned", "exif_turned"), ("deep", "deep_pixels"), ("dropped", "channel_dropped")):
        if found := scan.named(what):
            yield find(name, found=len(found), number=number, names=some(found, 2))
    if not classes or not pixels.any():
        return
    if void == VOID and (text := describe_binary(names, pixels)):
        yield find("masks_of_0_and_255", text)
    known = (np.arange(256) < classes) | (np.arange(256) == (-1 if void is None else void))
    if wrong := np.flatnonzero((pixels > 0) & ~known).tolist() + sorted({v for r in scan.rows for v in r.outside}):
        held = sum(bool(row.outside or (row.counts is not None and row.counts[~known].any())) for row in scan.rows)
        values = some([*map(str, wrong)])
        yield find("label_outside_classes", values=values, held=held, number=number, classes=classes)
    labelled = pixels.sum() - (pixels[void] if void is not None else 0)
    if labelled and void != 0 and not pixels[0] and classes > 1 and (pixels[1:classes] > 0).sum() >= classes // 2:
        yield find("zero_never_used", zero=names[0], last=np.flatnonzero(pixels[:classes])[-1])
    if labelled < 0.5 * pixels.sum():
        yield find("mostly_void", share=1 - labelled / pixels.sum())
    shares = zip(names, pixels[:classes] / max(1, labelled), strict=True)
    if rare := [f"{name} {share:.2%}" for name, share in shares if 0 < share < RARE]:
        yield find("classes_rare", names=some(rare))


def check_classes(scans: dict[str, Scan], names: Sequence[str]) -> Iterator[Finding]:
    """Compares the classes that the labels of "train" and "val" hold."""
    held = {part: scan.pixels[: len(names)] > 0 for part, scan in scans.items()}
    if not names or "train" not in held or not any(each.any() for each in held.values()):
        return
    train, val = held["train"], held.get("val", np.zeros(len(names), bool))
    for name, chosen in (
        ("class_only_in_val", val & ~train),
        ("class_absent", ~val & ~train),
        ("class_not_scored", train & ~val & ("val" in held)),
    ):
        if chosen.any():
            yield find(name, names=some([n for n, c in zip(names, chosen, strict=True) if c]))


def find_shared(scans: dict[str, Scan]) -> list[str]:
    """Lists the pictures that are the same file as one of another split."""
    seen: dict[bytes, tuple[str, str]] = {}
    found = []
    for split, scan in scans.items():
        for name, row in zip(scan.names, scan.rows, strict=True):
            other = seen.setdefault(row.picture.digest or name.encode() + split.encode(), (split, name))
            if other[0] != split:
                found.append(f"{name}: in {split}, and the same file as {other[1]} in {other[0]}; take one out")
    return found


def check_splits(scans: dict[str, Scan]) -> Iterator[Finding]:
    """Looks for lists in which one picture is much like the next, and for pictures that are in both splits."""
    thumbs = {}  # those that are not nearly blank
    for part, scan in scans.items():
        found = [row.picture.thumb for row in scan.rows if row.picture.thumb is not None]
        thumbs[part] = np.array([each for each in found if each.std() > 8], np.float32).reshape(-1, THUMB, THUMB)
        alike = np.sqrt(np.square(np.diff(thumbs[part], axis=0)).mean(axis=(1, 2))) < ALIKE
        if len(alike) > 10 and alike.mean() > 0.2:
            yield find("alike_frames", alike=alike.sum(), number=f"{part}'s {len(thumbs[part])}")
    if len(scans) < 2:
        return
    number = len(scans["val"].rows)
    if shared := find_shared(scans):
        yield find("train_in_val", count=len(shared), number=number, first=shared[0])
    elif all(map(len, thumbs.values())):
        parts = thumbs["val"], thumbs["train"], thumbs["train"][..., ::-1]
        val, *others = (each.reshape(len(each), THUMB**2) for each in parts)
        # distances to the nearest one; inf where they are COPY or more in the mean over a thumbnail
        plain, mirrored = (KDTree(each).query(val, distance_upper_bound=COPY * THUMB)[0] for each in others)
        if copies := int(np.isfinite(np.minimum(plain, mirrored)).sum()):
            yield find("copies_across_splits", copies=copies, number=number, mirrored=int((mirrored < plain).sum()))


def check_lists(source: Source, split: str) -> Iterator[Finding]:
    """Looks for names that are listed twice, and compares a VOC list with the file of that name beside the data."""
    names = [image.stem for image, _ in source.files or ()]
    paths = Counter(image for image, _ in source.files or ())  # frames of two folders may have one name
    if repeated := [path.stem for path, number in paths.items() if number > 1]:
        yield find("names_twice", repeated=len(repeated), number=len(paths), names=some(repeated, 3))
    if names:
        path = source.files[0][0].parents[1] / "ImageSets" / "Segmentation" / f"{split}.txt"
        if path.exists() and (missing := {*path.read_text(encoding="utf-8-sig").split()} - {*names}):
            known = {"file": path.name, "missing": len(missing), "names": some(sorted(missing), 2)}
            yield find("list_incomplete", number=len(names), **known)


def check_samples(
    source: Source, scored: bool, void: int | None, stride: int, names: Sequence[str], count: int
) -> Iterator[Finding]:
    """Checks samples as the network gets them: labels' form, edges, alignment, padding, structures, void."""
    samples: list[tuple[int, np.ndarray, np.ndarray]] = []
    for index, image, label in source.take(count):
        if label.ndim != 2 or label.dtype.kind == "f":
            yield from _check_form(label)
            return
        if image.shape[:2] != label.shape:
            sizes = " and ".join(f"{width} x {height}" for height, width in (image.shape[:2], label.shape))
            yield find("image_labels_sizes", index=index, sizes=sizes)
            return
        samples.append((index, image, label))
    if not samples:
        return
    if all(image.std() < 1e-6 for _, image, _ in samples):
        yield find("inputs_constant", value=samples[0][1].flat[0])
    if source.files and getattr(source.dataset, "table", None) is None:
        yield from _check_files(source, scored, samples[:40], void)
    contents = [(image[box], label[box]) for _, image, label in samples if (box := _content(image))]
    yield from _check_padding(samples, source, void)
    yield from _check_interpolation([label for _, label in contents])
    yield from _check_alignment(contents)
    yield from _check_structures([label for _, label in contents[:50]], void, stride, names)


def _check_form(label: np.ndarray) -> Iterator[Finding]:
    shape = f"labels are {label.shape} {label.dtype}, from {label.min():.3g} to {label.max():.3g}"
    if label.ndim != 2:
        yield find("label_in_colours", f"{shape}; expected (H, W) integers")
    elif (label % 1).any():
        scaled = f": {label.max() * 255:.0f} / 255"
        known = ("label_scaled", scaled) if label.max() <= 1 else ("label_interpolated", ", with fractions")
        yield find(known[0], shape + known[1])


def _content(image: np.ndarray) -> tuple[slice, slice] | None:
    """Finds the part of an image without borders of one colour; None if that is nearly nothing."""
    box = []
    for axis in (1, 0):
        inside = np.flatnonzero((image != image.take([0], axis=axis)).any(axis=(axis, 2)))
        if len(inside) < 16:
            return None
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return box[0], box[1]


def _has_border(path: Path) -> bool:
    """Tells whether a picture ends in one colour as it is stored: on white, or in the dark around an organ."""
    try:
        picture = np.asarray(open_stored(path).convert("RGB"))
    except (OSError, ValueError):
        return False
    return any((picture[strip] == picture[strip].reshape(-1, 3)[0]).all() for strip in BORDERS)


def _check_padding(
    samples: list[tuple[int, np.ndarray, np.ndarray]], source: Source, void: int | None
) -> Iterator[Finding]:
    """Looks for borders of one colour whose label is a class, and which the files do not have."""
    found: dict[tuple, list[Arrays]] = {}
    for index, image, label in samples:
        for strip in BORDERS:
            colour, value = image[strip].reshape(-1, image.shape[2]), label[strip].ravel()
            padded = (colour == colour[0]).all() and (value == value[0]).all() and value[0] != void
            if padded and not (source.files and _has_border(source.files[index][0])):
                found.setdefault((*colour[0].tolist(), int(value[0])), []).append((image, label))
                break
    (*_, value), padded = max(found.items(), key=lambda item: len(item[1]), default=((0,), []))
    if len(padded) >= max(3, 0.1 * len(samples)):
        shown = draw_edges(*padded[0])
        yield find("padding_is_a_class", picture=shown, padded=len(padded), number=len(samples), value=value)


def _check_interpolation(labels: list[np.ndarray]) -> Iterator[Finding]:
    between = edges = 0
    for label in labels:
        for values in (label, label.T):
            first, middle, last = (values[:, k : values.shape[1] - 2 + k].astype(int) for k in range(3))
            apart = abs(first - last) > 1
            edges += int(apart.sum())
            between += int((apart & ((first - middle) * (middle - last) > 0)).sum())
    if edges > 100 and between > 0.2 * edges:
        yield find("label_interpolated", share=between / edges)


def _check_alignment(contents: list[Arrays]) -> Iterator[Finding]:
    """Compares label edges with image edges, and label regions with the image's colours, under shifts and mirrorings.

    Edges say where a label would fit, regions whether it then fits better: outlines that were drawn loosely have edges
    beside the image's on all sides, but no move or turn improves their regions.
    """
    used: list[Arrays] = []
    maps, turns = [], Counter()
    for image, label in ([_middle(array) for array in pair] for pair in contents):
        edge = find_edges(label)
        if edge.sum() < 32 or min(label.shape) < 32:
            continue
        gradient = _gradient(image)
        used.append((image, label))
        maps.append(_correlate(gradient, edge))
        turned = {name: _at(_correlate(gradient, edge[turn])) for name, turn in MIRRORS.items()}
        name = max(turned, key=turned.get)
        if turned[name] > _at(maps[-1]) + 0.25 and _explained(image, label[MIRRORS[name]]) > _explained(image, label):
            turns[name] += 1
    if (seen := len(used)) < 8:
        return
    scores = np.array(maps)
    mean, shown = scores.mean(axis=0), draw_edges(*used[0])
    best, here, far = _peak(mean), _at(mean), float(np.median(mean))
    down, right = best
    sides = [_votes([_at(each, best) - _at(each, other) for each in maps]) for other in ((0, 0), (-down, -right))]
    (turn, turned), *others = [*turns.most_common(2), ("", 0), ("", 0)]
    moves, gains = [_peak(each) for each in maps], np.array([_gain(*pair, best) for pair in used])
    highest, usual, spread = (f(scores, axis=(1, 2)) for f in (np.max, np.median, np.std))
    sharp = float(np.mean((highest - usual) / np.maximum(spread, 1e-6)))
    if (
        max(abs(down), abs(right)) > 1
        and mean.max() > max(GOOD, 1.15 * here, 0.62 * highest.mean())
        and sides[0] >= 0.5
        and min(sides[1], _votes(gains, 0)) >= 0.3
        and gains.mean() > 2 * gains.std() / seen**0.5
    ):
        text = f"label edges fit best when the label is moved by {down} pixels down and {right} to the right"
    elif turned >= max(3, 0.2 * seen) and turned > 2 * others[0][1]:
        text = f"{turned} of {seen} labels fit their image better {turn}"
    elif sharp > 5 and _votes([_gain(*pair, move) for pair, move in zip(used, moves, strict=True)], 0) > 0.6:
        down, right = max(moves, key=lambda move: abs(move[0]) + abs(move[1]))
        text = f"labels fit when each is moved by another amount, one by {down} pixels down and {right} to the right"
    elif (own := _own(used)) < 0.55 or (own < 0.6 and far - 0.1 < here < far + 0.25):
        text = "labels fit their images no better than other pictures' labels do"
    else:
        if here < far + 0.1:
            yield find("outlines_loose", picture=shown)
        return
    yield find("misaligned", text, shown)


def _middle(array: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - SIDE) // 2) for side in array.shape[:2])
    return array[top : top + SIDE, left : left + SIDE]


def _votes(differences: Iterable[float], least: float = 0.1) -> float:
    """Returns the share of differences above `least`, less that of those below its negative."""
    return float(np.mean([(each > least) - (each < -least) for each in map(float, differences)]))


def _peak(scores: np.ndarray) -> tuple[int, int]:
    down, right = np.unravel_index(scores.argmax(), scores.shape)
    return int(down) - REACH, int(right) - REACH


def _at(scores: np.ndarray, move: tuple[int, int] = (0, 0)) -> float:
    """Returns the best score within a pixel of a move."""
    top, left = (max(0, REACH + step - 1) for step in move)
    return float(scores[top : REACH + move[0] + 2, left : REACH + move[1] + 2].max())


def _gradient(image: np.ndarray) -> np.ndarray:
    grey = image.astype(np.float32).mean(axis=2)
    found = abs(np.diff(grey, axis=1, append=grey[:, -1:])) + abs(np.diff(grey, axis=0, append=grey[-1:]))
    found = np.minimum(found, np.quantile(found, 0.95))
    return (found - found.mean()) / max(found.std(), 1e-6)


def _correlate(gradient: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Averages the gradient over the edge, for shifts of the edge by up to REACH pixels. -> (2 REACH + 1) ** 2."""
    size = [fft.next_fast_len(side + 2 * REACH, real=True) for side in gradient.shape]
    spectrum, window = fft.rfft2(gradient, size), np.arange(-REACH, REACH + 1)
    found = fft.irfft2(spectrum * fft.rfft2(edge.astype(np.float32), size).conj(), size) / edge.sum()
    return found[np.ix_(window, window)]


def _explained(image: np.ndarray, label: np.ndarray) -> float:
    """Returns the share of the colours' variance that lies between the label's regions, from every few pixels."""
    step = max(1, min(label.shape) // 96)
    colours = np.ascontiguousarray(image[::step, ::step].reshape(-1, image.shape[2]).T, np.float64)  # (3, pixels)
    codes = np.unique(label[::step, ::step], return_inverse=True)[1].ravel()
    sizes = np.bincount(codes)
    means = np.stack([np.bincount(codes, colour) for colour in colours]) / sizes
    between = (means - colours.mean(axis=1)[:, None]) ** 2 @ sizes
    return float(between.sum() / len(codes) / max(colours.var(axis=1).sum(), 1e-6))


def _gain(image: np.ndarray, label: np.ndarray, move: tuple[int, int]) -> float:
    """Returns how much more of the colours a label explains when it is moved, where both lie in the picture."""
    if any(2 * abs(step) > side for step, side in zip(move, label.shape, strict=True)):
        return 0.0
    here, there = (
        tuple(slice(max(0, step), side + min(0, step)) for step, side in zip(way, label.shape, strict=True))
        for way in (move, (-move[0], -move[1]))
    )
    return _explained(image[here], label[there]) - _explained(image[here], label[here])


def _own(samples: list[Arrays]) -> float:
    """Returns how often a label explains its image's colours better than other labels, enlarged to it, do."""
    wins = [1.0]
    for index, (image, label) in enumerate(samples):
        others = [_resize(samples[(index + step) % len(samples)][1], label.shape) for step in range(1, 9)]
        own = _explained(image, label)
        wins += [own > _explained(image, other) for other in others if (other != label).any()]
    return float(np.mean(wins))


def _check_structures(
    labels: list[np.ndarray], void: int | None, stride: int, names: Sequence[str]
) -> Iterator[Finding]:
    """Measures what share of a class lies in structures thinner than the output stride; and outlines as a class."""
    whole, thin, borders = np.zeros((3, 256))
    for label in labels:
        label = np.clip(label, 0, 255).astype(np.uint8)
        constant = ndimage.minimum_filter(label, stride) == ndimage.maximum_filter(label, stride)
        inside = ndimage.maximum_filter(constant, stride, origin=-(1 - stride % 2))
        edge = find_edges(label)
        edge |= np.roll(edge, 1, axis=1) | np.roll(edge, 1, axis=0)
        whole += np.bincount(label.ravel(), minlength=256)
        thin += np.bincount(label[~inside], minlength=256)
        borders += np.bincount(label[edge], minlength=256)
    share, edges = thin / np.maximum(whole, 1), borders / max(1, borders.sum())
    present = [k for k in range(256) if whole[k] and k != void]
    for k in present:
        if share[k] > 0.9 and edges[k] > 0.4 and len(present) > 2:
            name = names[k] if k < len(names) else k
            text = f"class {name} is an outline: thinner than {stride} pixels, and on {edges[k]:.0%} of all edge pixels"
            yield find("void_is_a_class", text)
    if slim := [f"{names[k]} {share[k]:.0%}" for k in present if k < len(names) and share[k] > 0.8]:
        yield find("thin_structures", names=some(slim), stride=stride)


def _check_files(source: Source, scored: bool, samples: list, void: int | None) -> Iterator[Finding]:
    """Compares samples as given with what their files hold: values, size, order of channels."""
    reversed_, void_as, shapes, greys = [], Counter(), Counter(), 0
    for index, image, label in samples:
        image_path, label_path = source.files[index]
        try:
            picture, file = np.asarray(open_stored(image_path).convert("RGB")), open_stored(label_path)
            mask = np.asarray(file)
        except (OSError, ValueError):
            continue
        if mask.ndim != 2:
            continue
        if label.shape != mask.shape:
            shapes.update(_compare_sizes(label, mask))
            continue
        if file.mode == "P" and (label != mask).any():
            greys += (abs(label - np.asarray(file.convert("L"), int)) <= 1).mean() > 0.99
        codes = [VOID]
        if label_path.name.endswith("_labelIds.png"):
            codes = [row.id for row in CITYSCAPES_LABELS if row.ignored and row.id >= 0]
        void_as.update(label[np.isin(mask, codes)].tolist())
        if image.shape == picture.shape:
            reversed_.append(_is_reversed(image, picture))
    if greys:
        yield find("label_in_colours", f"{greys} labels hold the grey of their palettes' colours")
    if void_as:
        (value, number), total = void_as.most_common(1)[0], void_as.total()
        if value != void and number > 0.5 * total:
            yield find("void_is_a_class" if value else "void_is_background", share=number / total, value=value)
    if len(reversed_) >= 4 and np.mean(reversed_) > 0.8:
        yield find("channels_reversed", found=sum(reversed_), number=len(reversed_))
    for name in ("squashed", "wrong_resolution", "scored_on_crop"):
        texts = [text for kind, text in shapes.elements() if kind == name]
        if len(texts) > 0.3 * len(samples) and (scored or name == "squashed"):
            yield find(name, texts[0])


def _is_reversed(image: np.ndarray, picture: np.ndarray) -> bool:
    if not image.std() or not picture.std():
        return False
    straight, exchanged = (
        sum(float(np.corrcoef(image[..., k].ravel(), picture[..., c].ravel())[0, 1]) for k, c in pairs)
        for pairs in (((0, 0), (2, 2)), ((0, 2), (2, 0)))
    )
    return exchanged > straight + 1e-3


def _compare_sizes(label: np.ndarray, mask: np.ndarray) -> list[tuple[str, str]]:
    """Tells how a label was made of its file: squashed, resized, or a crop of the middle. -> name and evidence."""
    (height, width), (rows, columns) = label.shape, mask.shape
    sizes = f"labels of {width} x {height}, of files of {columns} x {rows}"
    whole, squash = _resize(mask, label.shape), height / rows / (width / columns)
    if _agree(label, whole) or _agree(label, whole[:, ::-1]):
        if abs(squash - 1) > 0.05:
            return [("squashed", f"{sizes}: heights shrink by {squash:.2f} times as much as widths")]
        return [("wrong_resolution", f"{sizes}, resized: scores count at the label's own size")]
    for scale in (1.0, max(height, width) / min(rows, columns), max(height / rows, width / columns)):
        scaled = _resize(mask, (round(rows * scale), round(columns * scale)))
        top, left = (max(0, (a - b) // 2) for a, b in zip(scaled.shape, label.shape, strict=True))
        window = scaled[top : top + height, left : left + width]
        if window.shape == label.shape and window.size < scaled.size and _agree(label, window):
            return [("scored_on_crop", f"{sizes}: the middle, {window.size / scaled.size:.0%} of the picture")]
    return []


def _resize(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (((np.arange(n) + 0.5) * (side / n)).astype(int) for n, side in zip(size, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _agree(label: np.ndarray, other: np.ndarray) -> bool:
    """Tells whether two maps show the same regions, whatever their values are; edges may differ by a pixel."""
    codes = np.clip(label, 0, 255).ravel().astype(np.int64) * 256 + np.clip(other, 0, 255).ravel()
    joint = np.bincount(codes, minlength=65536).reshape(256, 256)
    pure, base = joint.max(axis=0).sum() / joint.sum(), joint.sum(axis=1).max() / joint.sum()
    return bool(pure > 0.97 and (pure - base) > 0.8 * (1 - base)) or (base == 1 and pure == 1)
