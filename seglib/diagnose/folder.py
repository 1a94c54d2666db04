"""What is wrong with a folder of pictures and masks: `python -m seglib check-folder FOLDER`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

from msgspec.structs import replace

from seglib.data.base import VOID, SegmentationDataset
from seglib.data.fingerprint import describe_binary
from seglib.data.folder import FolderSegmentation, divide, find_masks, find_splits, list_files
from seglib.data.make_table import list_masks, make_table
from seglib.data.masks import ClassTable, SplitRule
from seglib.diagnose.data import find_shared
from seglib.diagnose.report import Finding, find
from seglib.diagnose.samples import Source, describe_pictures
from seglib.files import some


class Readable(FolderSegmentation):
    """The pictures of a split that have a mask, whatever is wrong with others."""

    def __init__(self, table: ClassTable, files: list[tuple[Path, Path]]) -> None:
        self.table, self.in_channels, self.pixel_range = table, table.in_channels, table.pixel_range
        SegmentationDataset.__init__(self, files, [entry.name for entry in table.classes], table.palette)


def open_parts(folder: Path) -> tuple[dict[str, Readable], list[str], int]:
    """Opens all splits of a folder; says which pictures have not one mask, or masks no picture; counts the pictures.

    Raises FileNotFoundError and ValueError as `FolderSegmentation`, of the folder as a whole.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not (folder / "images").is_dir():
        find_splits(folder, SplitRule())  # says what is there in its place, before classes.toml is missed
    table = ClassTable.load(folder / "classes.toml")
    parts, faults, used, number = {}, [], {}, 0
    for split, images in find_splits(folder, table.split).items():
        found = find_masks(folder, images)
        number += len(found)
        faults += [fault for *_, fault in found if fault]
        for image, masks, _ in found:
            for mask in masks:
                used.setdefault(mask, {})[image] = None
        parts[split] = Readable(table, [(image, masks[0]) for image, masks, _ in found if masks])
    faults += [f"{mask}: a mask without a picture" for mask in list_masks(folder) if mask not in used]
    shared = {mask: some([image.name for image in images]) for mask, images in used.items() if len(images) > 1}
    faults += [f"{names} share the mask {mask}; expected different names" for mask, names in shared.items()]
    return parts, faults, number


def check_division(parts: Iterable[FolderSegmentation], rule: SplitRule, number: int) -> Iterator[Finding]:
    """Finds a folder's `number` pictures divided one by one, since their names say nothing of groups."""
    images = next((part.files[0][0].parent for part in parts if part.files), Path())
    if rule.group == "none" or images.name != "images" or (images.parent / "lists").is_dir():
        return  # as somebody asked for it
    if divide(list_files(images), rule) == divide(list_files(images), replace(rule, group="none")):
        yield find("divided_singly", number=number)


def check_folder(folder: Path, /, *, write: bool = False) -> int:
    """Read all pictures and masks of a folder, and list what is wrong with them; exit status 1 if anything is.

    Args:
        folder: holds images, masks and classes.toml.
        write: make classes.toml of the values or colours that the masks hold.
    """
    path = folder / "classes.toml"
    if write:
        if path.exists():
            raise FileExistsError(f"{path}: is there already; delete it to have it written, or leave out --write")
        if not (folder / "masks").is_dir():
            cure = f"`python -m seglib convert-masks {quote(str(folder))} NEW` makes them of labelme's files"
            raise FileNotFoundError(f"{folder / 'masks'}: no such folder; expected images and masks; {cure}")
        make_table(list_masks(folder)).save(path)
        print(f"{path}: written; give the classes their names")
    parts, faults, number = open_parts(folder)
    scans = {split: Source(part).scan() for split, part in parts.items()}
    table = next(iter(parts.values())).table
    faults += describe_pictures(scans, table) + find_shared(scans)
    faults += [text for scan in scans.values() for text in scan.messages]
    names = [entry.name for entry in table.classes]
    pixels = {split: scan.pixels for split, scan in scans.items()}
    for split in sorted(split for split in pixels.keys() & {"train", "val"} if pixels[split].any()):
        absent = [name for name, count in zip(names, pixels[split], strict=False) if not count]
        if text := VOID in table.void and describe_binary(names, pixels[split]):
            faults.append(f"{split}: {text}")
        elif absent:
            lost = "learned" if split == "train" else "scored"
            cure = "more pictures, another seed of [split], or lists of your own"
            faults.append(f"{split}: no pixel of {some(absent)}, which cannot be {lost}; {cure}")
    if missing := sorted({"train", "val"} - {*parts}):
        own = "one of your own names others as train_split and val_split"
        print(f"no {' and no '.join(missing)}: the recipe `folder` reads train and val; {own}")
    if (folder / "lists").is_dir() and any(each.is_dir() for each in (folder / "images").glob("[!.]*")):
        print(f"{folder / 'lists'}: not read, as images has folders")
    print(f"{'share of the pixels, in %':30}" + "".join(f"{split:>10}" for split in parts))
    print(f"{'pictures':30}" + "".join(f"{len(part):10}" for part in parts.values()))
    for k, name in [*enumerate(names), (VOID, "void")]:
        print(f"{name:30}" + "".join(f"{100 * counts[k] / max(1, counts.sum()):10.2f}" for counts in pixels.values()))
    if turned := [name for scan in scans.values() for name in scan.named("turned")]:
        print(f"EXIF turns {some(turned)}: masks must lie as viewers show the pictures")
    if dropped := [name for scan in scans.values() for name in scan.named("dropped")]:
        print(f"a fourth channel of {some(dropped)} is not read: in_channels = 4 in classes.toml would read it")
    for singly in check_division(parts.values(), table.split, number):
        print(f"{singly.evidence}: {singly.fix}")
    print(*[f"fault: {fault}" for fault in faults], f"{number} pictures; faults: {len(faults)}", sep="\n")
    return int(bool(faults))
