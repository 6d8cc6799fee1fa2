"""Files of one picture in formats that a careless program would read another way."""

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def write(folder, picture):
    """Write a picture, uint8 [H, W, 3], as files whose names say what is odd about them; return their paths."""
    image = Image.fromarray(picture)
    alpha = np.linspace(0, 255, picture.shape[0] * picture.shape[1]).reshape(picture.shape[:2]).astype(np.uint8)
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    image.quantize(16).save(folder / "palette.png")
    Image.fromarray(np.dstack([picture, alpha])).save(folder / "transparent.png")
    Image.fromarray(picture.mean(axis=2).astype(np.uint16) * 257).save(folder / "16 bits.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "turned.jpg", exif=turned)
    image.save(folder / "lossy.webp", quality=60)
    image.quantize(32).save(folder / "frames.gif", save_all=True, append_images=[Image.new("RGB", image.size)])
    image.save(folder / "plain.bmp")
    return sorted(path for path in folder.iterdir() if path.is_file())
