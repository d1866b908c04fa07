"""PointPillars in NumPy and float64: every layer by itself, as the paper and OpenPCDet have it."""

import numpy as np

EPSILON = 1e-3


def forward(weights, design, features, coordinates):
    """The outputs by name, (rows, columns, values)."""
    points = np.maximum(
        normal(
            weights, "vfe.pfn_layers.0.norm", features @ weights["vfe.pfn_layers.0.linear.weight"].T
        ),
        0,
    )
    columns, rows, _ = design.space.cells
    canvas = np.zeros((design.pillar_channels, rows, columns))
    canvas[:, coordinates[:, 1], coordinates[:, 2]] = points.max(axis=1).T
    scales = []
    for number, block in enumerate(design.blocks):
        for layer in range(block.layers + 1):
            name = f"backbone_2d.blocks.{number}"
            kernel = weights[f"{name}.{1 + 3 * layer}.weight"]
            canvas = convolved(canvas, kernel, 1 if layer else block.stride)
            canvas = relu_normal(weights, f"{name}.{2 + 3 * layer}", canvas)
        name = f"backbone_2d.deblocks.{number}"
        large = np.einsum("cij,cdkl->dikjl", canvas, weights[f"{name}.0.weight"])
        sides = large.shape
        large = large.reshape(sides[0], sides[1] * sides[2], sides[3] * sides[4])
        scales.append(relu_normal(weights, f"{name}.1", large))
    joined = np.concatenate(scales)
    return {
        output: np.einsum("cij,vc->ijv", joined, weights[f"{name}.weight"][:, :, 0, 0])
        + weights[f"{name}.bias"]
        for output, name in (
            ("classes", "dense_head.conv_cls"),
            ("boxes", "dense_head.conv_box"),
            ("directions", "dense_head.conv_dir_cls"),
        )
    }


def normal(weights, name, values):
    weight, bias, mean, variance = (
        weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (values - mean) / np.sqrt(variance + EPSILON) * weight + bias


def relu_normal(weights, name, canvas):
    return np.maximum(np.moveaxis(normal(weights, name, np.moveaxis(canvas, 0, -1)), -1, 0), 0)


def convolved(canvas, kernel, stride):
    padded = np.pad(canvas, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("cijkl,dckl->dij", windows[:, ::stride, ::stride], kernel)
