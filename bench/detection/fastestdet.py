"""FastestDet in a picture, as its authors run it (github.com/dog-qiuqiu/FastestDet)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infer.fusion.pictures import overlap
from infer.models.network import Network

SIDE = 352  # pixels of what the network sees: the whole picture, squeezed
LEAST_SCORE = 0.65  # as published
MOST_OVERLAP = 0.45  # of two boxes of a class that are two things
TRAFFIC = {0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """boxes: float64 (k, 4), left, top, right, bottom, pixels. labels: of COCO's classes."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: tuple[str, ...]


class FastestDet:
    """The network of a file's bytes, on one thread of the CPU."""

    def __init__(self, model: bytes) -> None:
        """Raises as `infer.models.network.Network` does."""
        self._network = Network(model)
        [self._input] = self._network.facts.inputs

    def detect(self, picture: NDArray[np.uint8]) -> Found:
        """What it finds of traffic in RGB (height, width, 3), best first."""
        small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        bgr = np.asarray(small)[:, :, ::-1].transpose(2, 0, 1)[None]
        [out] = self._network.run({self._input: bgr.astype(np.float32) / 255}).values()
        boxes, scores, classes = decoded(out[0].astype(np.float64), picture.shape[1::-1])
        kept: list[int] = []
        for i in np.argsort(-scores, kind="stable").tolist():
            if scores[i] < LEAST_SCORE or int(classes[i]) not in TRAFFIC:
                continue
            same = [j for j in kept if classes[j] == classes[i]]
            if (overlap(boxes[i : i + 1], boxes[same]) < MOST_OVERLAP).all():
                kept.append(i)
        labels = tuple(TRAFFIC[int(classes[i])] for i in kept)
        return Found(boxes[kept], scores[kept], labels)


def decoded(
    out: NDArray[np.float64], size: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (c, 4) of all cells, their scores and classes (c,), of a network's (85, rows, columns).

    Channels: how sure it is of a thing, its middle's place from the cell's, width and height, and
    how sure of each class. size: width and height of the picture.
    """
    rows, columns = out.shape[1:]
    row, column = np.mgrid[:rows, :columns]
    x, y = (column + np.tanh(out[1])) / columns, (row + np.tanh(out[2])) / rows
    wide, high = 1 / (1 + np.exp(-out[3])) / 2, 1 / (1 + np.exp(-out[4])) / 2
    boxes = np.stack((x - wide, y - high, x + wide, y + high), axis=-1).reshape(-1, 4)
    scores = out[0] ** 0.6 * out[5:].max(axis=0) ** 0.4
    edges = np.array((size[0], size[1]) * 2, np.float64)
    return boxes * edges, scores.ravel(), out[5:].argmax(axis=0).ravel()
