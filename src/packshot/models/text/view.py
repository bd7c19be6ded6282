"""What the picture tower sees of a picture: features of a frozen network, and a thumbnail for its colours.

Letters: N pictures, S side in pixels, C channels.
"""

import numpy as np
import torch
import torch.nn.functional as F

from packshot.models.features.efflite import FEATURES, load_efflite0
from packshot.models.ranges import to_model

THUMBNAIL = 8
VIEW = FEATURES + 3 * THUMBNAIL**2
CHUNK = 1000


def picture_view(images: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
    """Returns float32 [N, 1472] of uint8 pictures [N, S, S, C]: EfficientNet-lite0 features, then a thumbnail.

    The thumbnail is the mean colour, in [-1, 1], of each part of an 8x8 grid: the network, trained to tell kinds of
    things, forgets much of their colour.

    Args:
        images: square, 1 (grey) or 3 (RGB) channels.
        features: what `load_efflite0().features` says of the pictures, where it is known already; None: ask it.
    """
    out = np.empty((len(images), VIEW), np.float32)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        out[part, :FEATURES] = load_efflite0().features(images[part]) if features is None else features[part]
        x = to_model(torch.from_numpy(np.array(images[part])))
        thumbnail = F.adaptive_avg_pool2d(x, THUMBNAIL).expand(-1, 3, -1, -1)
        out[part, FEATURES:] = thumbnail.flatten(1).numpy()
    return out


def middle_square(images: np.ndarray) -> np.ndarray:
    """Returns the middle square [N, S, S, C] of pictures [N, H, W, C]."""
    h, w = images.shape[1:3]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    return images[:, top : top + side, left : left + side]
