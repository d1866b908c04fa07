"""The angle of a direction, the same on every target: a library's would differ in the last bits."""

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Float32

NIL = np.float32(0)
HALF_TURN = np.float32(np.pi)
QUARTER_TURN = np.float32(np.pi / 2)

# atan(t) / t in t^2 for t in 0..1, fitted at Chebyshev's nodes: within 2e-7 rad.
ARCTANGENT = tuple(
    np.float32(c)
    for c in (
        0.999999898,
        -0.333319597,
        0.199692354,
        -0.14016585,
        0.099060969,
        -0.0593671008,
        0.0241661895,
        -0.00466877331,
    )
)


def angle_of(y: Float32, x: Float32) -> Float32:
    """atan2(y, x) within 5e-7 rad; 0 at the origin. float32."""
    across, along = abs(y), abs(x)
    longer = max(across, along)
    if not longer > NIL:
        return NIL
    t = min(across, along) / longer
    q = t * t
    a = ARCTANGENT
    angle = t * (
        a[0]
        + q * (a[1] + q * (a[2] + q * (a[3] + q * (a[4] + q * (a[5] + q * (a[6] + q * a[7]))))))
    )
    if across > along:
        angle = QUARTER_TURN - angle
    if x < NIL:
        angle = HALF_TURN - angle
    return -angle if y < NIL else angle
