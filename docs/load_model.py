"""Load an exported model without ReCoLabel: python load_model.py MODEL_FOLDER IMAGE MASK.png

Needs torch, safetensors, numpy and pillow. MASK.png gets one byte a pixel: the index of the class in config.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps
from safetensors.torch import load_file

folder, image_file, mask_file = map(Path, sys.argv[1:4])
sys.path.insert(0, str(folder))
from network import build_network, predict  # noqa: E402 - network.py lies in the exported folder

config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
build = config.get("build") or {"backbone": config["backbone"]["name"]}
network = build_network(len(config["classes"]), **build, pretrained=False, for_training=False)
network.load_state_dict(load_file(folder / "model.safetensors"))
network.eval()

image = np.array(ImageOps.exif_transpose(Image.open(image_file)).convert("RGB"))
label_map = predict(network, image).argmax(0).numpy().astype(np.uint8)
mask = Image.fromarray(label_map)
mask.putpalette([part for c in config["classes"] for part in ImageColor.getrgb(c["colour"])])
mask.save(mask_file)
