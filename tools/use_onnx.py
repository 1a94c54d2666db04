"""Uses an exported network without seglib: python use_onnx.py NETWORK.onnx PICTURE MASK.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

network = onnxruntime.InferenceSession(sys.argv[1])
picture = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
(found,) = network.run(None, {"images": np.asarray(picture).transpose(2, 0, 1)[None]})  # (1, 3, H, W) uint8 goes in
mask = Image.fromarray(found[0] if found.ndim == 3 else found[0].argmax(0).astype(np.uint8))  # labels, or of logits
about = {key: json.loads(value) for key, value in network.get_modelmeta().custom_metadata_map.items()}
mask.putpalette(np.uint8(about["palette"]).tobytes())
mask.save(sys.argv[3])
print({about["classes"][index]: pixels for pixels, index in mask.getcolors()})
