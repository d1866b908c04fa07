"""glTF's metallic-roughness material for Mitsuba, after glTF 2.0 appendix B.

Mitsuba's own `principled` is another material: its diffuse lobe is Disney's, its rough metals lose
what facets reflect to one another. Here that light is given back as in ours and in three.js
(Turquin, "Practical Multiple Scattering Compensation for Microfacet Models", 2019, eq. 16).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "gltf"
SMALLEST_ALPHA = 0.002
TABLE, DRAWN = 32, 128  # entries a side, samples across for each


def register(mi: Any) -> None:
    """Make the plugin NAME known; textures: base_color, roughness, metallic."""
    import drjit as dr  # noqa: PLC0415  (comes with Mitsuba)

    table = mi.TensorXf(reflected_once()[..., None])
    albedo = mi.Texture2f(table, wrap_mode=dr.WrapMode.Clamp)

    class MetallicRoughness(mi.BSDF):  # type: ignore[misc]
        def __init__(self, given: Any) -> None:
            mi.BSDF.__init__(self, given)
            self.base, self.rough, self.metal = (
                given[name] for name in ("base_color", "roughness", "metallic")
            )
            self.m_components = [mi.BSDFFlags.GlossyReflection | mi.BSDFFlags.FrontSide]
            self.m_flags = self.m_components[0]

        def sample(
            self, context: Any, si: Any, which: Any, at: Any, active: Any = True
        ) -> tuple[Any, Any]:
            glossy = which < self._glossy_share(si, active)
            alpha2 = dr.square(self._alpha(si, active))
            cosine = dr.safe_sqrt((1 - at.x) / (1 + (alpha2 - 1) * at.x))
            sine, round_ = dr.safe_sqrt(1 - cosine * cosine), 2 * dr.pi * at.y
            half = mi.Vector3f(sine * dr.cos(round_), sine * dr.sin(round_), cosine)
            mirrored = 2 * dr.dot(si.wi, half) * half - si.wi
            drawn = mi.BSDFSample3f()
            drawn.wo = dr.select(glossy, mirrored, mi.warp.square_to_cosine_hemisphere(at))
            drawn.pdf = self.pdf(context, si, drawn.wo, active)
            drawn.eta = 1.0
            drawn.sampled_type = mi.UInt32(+mi.BSDFFlags.GlossyReflection)
            drawn.sampled_component = mi.UInt32(0)
            active &= drawn.pdf > 0
            value = self.eval(context, si, drawn.wo, active) / dr.maximum(drawn.pdf, 1e-12)
            return drawn, value & active

        def eval(self, context: Any, si: Any, wo: Any, active: Any = True) -> Any:
            n_v, n_l = si.wi.z, wo.z
            active &= (n_v > 0) & (n_l > 0)
            base, metallic = self.base.eval(si, active), self.metal.eval_1(si, active)
            alpha = self._alpha(si, active)
            alpha2 = alpha * alpha
            half = dr.normalize(si.wi + wo)
            grazing = (1 - dr.clip(dr.dot(si.wi, half), 0, 1)) ** 5
            smith = n_l * dr.sqrt(n_v * n_v * (1 - alpha2) + alpha2)
            smith += n_v * dr.sqrt(n_l * n_l * (1 - alpha2) + alpha2)
            lobe = self._density(half.z, alpha2) * 0.5 / dr.maximum(smith, 1e-7)
            f0 = dr.lerp(mi.Color3f(0.04), base, metallic)
            at = (mi.Point2f(dr.sqrt(alpha), n_v) * (TABLE - 1) + 0.5) / TABLE
            once = albedo.eval(at)[0]
            kept = 1 + f0 * (1 / once - 1)
            below = (1 - (0.04 + 0.96 * grazing)) * base * ((1 - metallic) / dr.pi)
            return ((below + (f0 + (1 - f0) * grazing) * kept * lobe) * n_l) & active

        def pdf(self, context: Any, si: Any, wo: Any, active: Any = True) -> Any:
            active &= (si.wi.z > 0) & (wo.z > 0)
            half = dr.normalize(si.wi + wo)
            share, alpha2 = self._glossy_share(si, active), dr.square(self._alpha(si, active))
            glossy = self._density(half.z, alpha2) * half.z / (4 * dr.dot(si.wi, half))
            return dr.select(active, share * glossy + (1 - share) * wo.z / dr.pi, 0)

        def eval_pdf(self, context: Any, si: Any, wo: Any, active: Any = True) -> tuple[Any, Any]:
            return self.eval(context, si, wo, active), self.pdf(context, si, wo, active)

        def _alpha(self, si: Any, active: Any) -> Any:
            return dr.maximum(dr.square(self.rough.eval_1(si, active)), SMALLEST_ALPHA)

        def _glossy_share(self, si: Any, active: Any) -> Any:
            return 0.5 + 0.45 * self.metal.eval_1(si, active)

        @staticmethod
        def _density(n_h: Any, alpha2: Any) -> Any:
            return alpha2 / (dr.pi * dr.square(n_h * n_h * (alpha2 - 1) + 1))

    mi.register_bsdf(NAME, MetallicRoughness)


def reflected_once() -> NDArray[np.float32]:
    """The share of light that facets without loss reflect once: by n.v (row) and roughness.

    float32 (TABLE, TABLE), both from 0 to 1, ends included.
    """
    steps = np.linspace(0, 1, TABLE).clip(1e-3)
    u = (np.arange(DRAWN) + 0.5) / DRAWN
    u, phi = np.meshgrid(u, u * 2 * np.pi)
    table = np.empty((TABLE, TABLE), np.float32)
    for column, roughness in enumerate(steps):
        alpha2 = max(roughness**2, SMALLEST_ALPHA) ** 2
        cosine = np.sqrt((1 - u) / (1 + (alpha2 - 1) * u))
        across = np.sqrt(1 - cosine**2) * np.cos(phi)
        for row, n_v in enumerate(steps):
            v_h = np.maximum(across * np.sqrt(1 - n_v**2) + cosine * n_v, 1e-9)
            n_l = np.maximum(2 * v_h * cosine - n_v, 0)
            smith = n_l * np.sqrt(n_v**2 * (1 - alpha2) + alpha2)
            smith += n_v * np.sqrt(n_l**2 * (1 - alpha2) + alpha2)
            table[row, column] = (2 * n_l * v_h / (smith * cosine + 1e-12)).mean()
    return table
