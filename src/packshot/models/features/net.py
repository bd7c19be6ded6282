"""What a feature net is: pictures in, one row of numbers a picture out, by a protocol that its name stands for.

Letters: N pictures, S side in pixels, C channels (1 grey or 3 RGB), D features.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from packshot.core.shapes import check_shape

Pixels = npt.NDArray[np.uint8]
BATCH = 50  # Larger batches leave the processor's cache: 250 costs 1.7 times the time a picture.


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureNet:
    """A trained network that describes pictures, and the protocol by which it is shown them.

    Attributes:
        name: how the net is named in a figure, for example "efflite0" in `kid_efflite0`.
        distance: how a Frechet distance in its features is named: "fid" for Inception, else "fd".
        dim: D.
        input_size: side in pixels to which pictures are resized.
        input_range: least and greatest value of the net's input.
        protocol: names everything that changes a feature (net, weights, padding, resize); caches are keyed by it.
        licence: SPDX expression of the weights.
        source: where the weights come from.
        prepare: uint8 [N, S, S, C] to the net's input, float32 [N, 3, input_size, input_size] in `input_range`.
        module: that input to features, float32 [N, D]; in evaluation mode, without gradients.
    """

    name: str
    distance: str
    dim: int
    input_size: int
    input_range: tuple[float, float]
    protocol: str
    licence: str
    source: str
    prepare: Callable[[Tensor], Tensor]
    module: nn.Module

    def features(self, images: Pixels) -> npt.NDArray[np.float64]:
        """Returns the features float64 [N, D] of uint8 pictures [N, S, S, C].

        The net computes in float32, so float32 holds each value exactly. As many batches run at a time as torch has
        threads, each on one thread: one batch on many threads waits for the slowest of them at every layer, which on
        a busy machine cost ten times the time. A picture's features do not depend on the number of threads.

        Raises:
            ValueError: the pictures are not square, or have neither 1 nor 3 channels.
            TypeError: the pictures are not uint8.
        """
        channels = check_shape("images", images, "N", "S", "S", "C")["C"]
        if channels not in (1, 3):
            raise ValueError(f"images have {channels} channels; they can have 1 (grey) or 3 (RGB).")
        if images.dtype != np.uint8:
            raise TypeError(f"images are {images.dtype}; they have to be uint8.")
        out = np.empty((len(images), self.dim), np.float64)

        def work(start: int) -> None:
            part = np.array(images[start : start + BATCH])  # A copy: torch takes no read-only memory.
            with torch.inference_mode():
                out[start : start + BATCH] = self.module(self.prepare(torch.from_numpy(part))).numpy()

        starts = range(0, len(images), BATCH)
        threads = torch.get_num_threads()
        if threads == 1 or len(starts) < 2:
            for start in starts:
                work(start)
            return out
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(work, starts))
        finally:
            torch.set_num_threads(threads)  # New threads inherit the last number that any thread has set.
        return out
