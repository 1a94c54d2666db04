"""Networks as files that run without this package: ONNX, torch.export's .pt2, and weights as safetensors."""

import copy
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seglib.data.images import PixelRange
from seglib.data.transforms import IMAGENET, Normalisation
from seglib.files import write_atomic
from seglib.predict import ONE_VIEW, Scoring, predict_map
from seglib.train.checkpoint import Run

NEEDED = ("onnx", "onnxscript", "onnxruntime")
CHECKED = ((1, 64, 96), (3, 65, 131), (2, 40, 49))  # batch, height, width: none is what is traced
TOLERANCE = 1e-4  # of logits, or of the largest one where that is above 1


class Deployed(nn.Module):
    """A network from pixels to logits or labels, as `seglib.predict` has them for one view of a whole image.

    (B, C, H, W) uint8 of any size, RGB for three channels -> (B, K, H, W) float32 logits, or (B, H, W) uint8 labels.
    """

    def __init__(self, model: nn.Module, normalisation: Normalisation, scoring: Scoring, labels: bool):
        super().__init__()
        self.model, self.normalisation, self.scoring, self.labels = model, normalisation, scoring, labels

    def forward(self, images: Tensor) -> Tensor:
        logits, grid, size = predict_map(self.model, self.normalisation(images), self.scoring)
        rows, columns = map(torch.arange, images.shape[2:])  # a slice's strides would tell sizes of s * k + 1 apart
        logits = grid.resize(logits, size).index_select(2, rows).index_select(3, columns)
        return logits.argmax(dim=1).to(torch.uint8) if self.labels else logits


def export_network(
    model: nn.Module,
    path: Path,
    classes: Sequence[str],
    palette: np.ndarray,
    normalisation: Normalisation = IMAGENET,
    scoring: Scoring = ONE_VIEW,
    labels: bool = False,
    pixel_range: PixelRange | None = None,
) -> float:
    """Writes a network with its normalisation and upsampling, for images of any number and size.

    The file's input `images` and its output, `logits` or `labels`, are those of `Deployed`. Its metadata are JSON:
    "classes", "palette" (RGB of each class), "mean" and "std" (used inside, of pixels / 255), "pixel_range" (of deep
    pictures). It is run on sizes other than the traced one, and written only if it agrees with the network here.

    Args:
        path: NAME.onnx, or NAME.pt2 for torch.export.
        scoring: of it `continued` counts; scales, mirror images, windows and padding are not in the file.
        labels: the file's output is the most probable class.

    Returns the largest difference of logits that was found; with labels, how far a label's is below the largest.

    Raises:
        ValueError: for another suffix, if packages are missing, or the file's output differs; nothing is written then.
    """
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"{path}: expected a file NAME.onnx or NAME.pt2")
    if path.suffix == ".onnx" and (missing := [name for name in NEEDED if find_spec(name) is None]):
        raise ValueError(f"{path}: needs {', '.join(missing)}, not installed here: pip install {' '.join(NEEDED)}")
    model = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format).eval()
    network = Deployed(model, normalisation, scoring, labels)
    of_any_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    example = torch.zeros(2, len(normalisation.mean), 70, 100, dtype=torch.uint8)
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=(of_any_size,))
    metadata = {"classes": list(classes), "palette": palette[: len(classes)].tolist(), "pixel_range": pixel_range}
    metadata |= {"mean": normalisation.mean, "std": normalisation.std}
    write = _to_onnx if path.suffix == ".onnx" else _to_pt2
    content, run = write(program, {key: json.dumps(value) for key, value in metadata.items()}, labels)
    difference = _compare(Deployed(model, normalisation, scoring, False), run, example.shape[1], labels)
    if not difference <= 1:  # nan too
        found = f"its output is {difference:.3g} times as far from PyTorch's as it may be"
        raise ValueError(f"{path}: not written: {found}")
    write_atomic(path, lambda file: file.write(content))
    return difference * TOLERANCE


Runner = Callable[[np.ndarray], np.ndarray]


def _to_onnx(program: torch.export.ExportedProgram, metadata: dict[str, str], labels: bool) -> tuple[bytes, Runner]:
    import onnxruntime

    names = {"input_names": ["images"], "output_names": ["labels" if labels else "logits"]}
    model = torch.onnx.export(program, (), dynamo=True, verbose=False, **names).model_proto
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: session.run(None, {"images": images})[0]


def _to_pt2(program: torch.export.ExportedProgram, metadata: dict[str, str], labels: bool) -> tuple[bytes, Runner]:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files=metadata)
    file.seek(0)
    loaded = torch.export.load(file).module()
    return file.getvalue(), lambda images: loaded(torch.from_numpy(images)).detach().numpy()


def _compare(network: nn.Module, run: Runner, channels: int, labels: bool) -> float:
    """Returns the largest difference in units of what is allowed."""
    rng, differences = np.random.default_rng(0), []
    for batch, height, width in CHECKED:
        images = rng.integers(0, 256, (batch, channels, height, width), dtype=np.uint8)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images))
        found = torch.from_numpy(run(images))
        size = (batch, height, width) if labels else expected.shape
        if found.shape != size:
            given = f"{batch} images of {height} x {width}"
            raise ValueError(f"the exported network returns {tuple(found.shape)} for {given}")
        if labels:  # of two logits that are all but equal either may win
            found, expected = expected.gather(1, found[:, None].long()), expected.amax(1, keepdim=True)
        differences.append(((found - expected).abs().max() / expected.abs().max().clamp(min=1) / TOLERANCE).item())
    return float(np.max(differences))  # nan if one is


def save_weights(run: Run, path: Path) -> None:
    """Writes a run's weights as a .safetensors file, which other programs read and `load_run` takes for the run."""
    from safetensors.torch import save

    about = {"recipe": run.recipe.changes(), "classes": run.classes, "palette": run.palette.tolist()}
    about |= {"normalisation": asdict(run.normalisation), "data": {"val": {"pixel_range": run.pixel_range}}}
    tensors = {name: tensor.contiguous() for name, tensor in run.model.state_dict().items()}
    content = save(tensors, {"run": json.dumps(about)})
    write_atomic(path, lambda file: file.write(content))
