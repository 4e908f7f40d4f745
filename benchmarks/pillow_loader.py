"""The reference's loader, plainly: Pillow and NumPy, one example at a time, torchvision's documented algorithms."""

import math
import random

import numpy as np
from PIL import Image

from cgc_tf.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def batch(paths, size):
    """The three views of each file as normalized float32 `[B, 3, size, size]`, a list."""
    return [np.stack(view) for view in zip(*(map(normalized, views(path, size)) for path in paths), strict=True)]


def batch_uint8(paths, size):
    """The same as uint8 `[B, size, size, 3]`."""
    return [np.stack(view) for view in zip(*(map(np.asarray, views(path, size)) for path in paths), strict=True)]


def views(path, size):
    """`ce`, `original` and `augmented` of a file, Pillow images."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    width, height = image.size
    side, shorter = round(size * 256 / 224), min(width, height)
    resized = image.resize((side * width // shorter, side * height // shorter), Image.Resampling.BILINEAR)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    original = resized.crop((left, top, left + size, top + size))
    return random_crop(image, size), original, random_crop(original, size)


def random_crop(image, size):
    """A random resized crop, flipped or not."""
    top, left, height, width = crop_of(image.height, image.width)
    crop = image.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BILINEAR)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


def crop_of(height, width, uniform=random.uniform, randint=random.randint):
    """Top, left, height and width of torchvision's RandomResizedCrop with its default area and aspect."""
    for _ in range(10):
        area = height * width * uniform(0.08, 1.0)
        aspect = math.exp(uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return randint(0, height - h), randint(0, width - w), h, w
    aspect = width / height
    w, h = width, height
    if aspect < 3 / 4:
        h = round(w / (3 / 4))
    elif aspect > 4 / 3:
        w = round(h * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def normalized(image):
    """An image as torchvision's ToTensor and Normalize make it: float32 `[3, H, W]`."""
    array = np.ascontiguousarray(np.array(image).transpose(2, 0, 1)).astype(np.float32) / 255
    return (array - np.float32(IMAGENET_MEAN)[:, None, None]) / np.float32(IMAGENET_STD)[:, None, None]
