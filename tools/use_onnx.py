"""Uses an exported network without seglib: python use_onnx.py NETWORK.onnx PICTURE MASK.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) != 4:
    sys.exit(__doc__)
network = onnxruntime.InferenceSession(sys.argv[1])
about = {key: json.loads(value) for key, value in network.get_modelmeta().custom_metadata_map.items()}
channels, span = len(about["mean"]), about["pixel_range"]
picture = ImageOps.exif_transpose(Image.open(sys.argv[2]))
deep = picture.mode[0] in "IF"  # more than 8 bits a channel
pixels = np.asarray(picture if deep else picture.convert({1: "L", 3: "RGB"}[channels]))
if deep != bool(span) or (span and not span[0] <= pixels.min() <= pixels.max() <= span[1]):
    found = f"mode {picture.mode}, values {pixels.min()} to {pixels.max()}"
    sys.exit(f"{sys.argv[2]}: {found}; expected {span or '8 bits a channel'}, as the network was trained on")
if span:
    pixels = np.rint((pixels.astype(float) - span[0]) * (255 / (span[1] - span[0]))).astype(np.uint8)
pixels = np.broadcast_to(pixels[..., None], (*pixels.shape, channels)) if pixels.ndim == 2 else pixels
(found,) = network.run(None, {"images": pixels.transpose(2, 0, 1)[None]})  # (1, C, H, W) uint8 goes in
mask = Image.fromarray(found[0] if found.ndim == 3 else found[0].argmax(0).astype(np.uint8))  # labels, or of logits
mask.putpalette(np.uint8(about["palette"]).tobytes())
mask.save(sys.argv[3])
print({about["classes"][index]: pixels for pixels, index in mask.getcolors()})
