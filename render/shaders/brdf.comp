#version 460
#extension GL_GOOGLE_include_directive : require
// Reflectance of a uniform environment by the specular lobe of glTF 2.0 appendix B: scale and bias
// of f0 (the split sum's second part: Karis, "Real Shading in Unreal Engine 4", 2013).
// x: roughness, y: n.v, both from 0 at the first texel's centre to 1 at the last one's.

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray table;

const uint SAMPLES = 2048;

void main() {
    ivec2 size = imageSize(table).xy, texel = ivec2(gl_GlobalInvocationID.xy);
    if (any(greaterThanEqual(texel, size))) return;
    vec2 at = vec2(texel) / vec2(size - 1);
    float alpha = max(at.x * at.x, 0.002), alpha2 = alpha * alpha, n_v = max(at.y, 1e-3);
    vec3 v = vec3(sqrt(1.0 - n_v * n_v), 0.0, n_v);
    vec2 total = vec2(0.0);
    for (uint i = 0; i < SAMPLES; i++) {
        vec3 h = ggx_half(hammersley(i, SAMPLES), alpha2);
        float v_h = max(dot(v, h), 1e-6), n_l = 2.0 * v_h * h.z - n_v;
        if (n_l <= 0.0) continue;
        float smith = n_l * sqrt(n_v * n_v * (1.0 - alpha2) + alpha2) +
                      n_v * sqrt(n_l * n_l * (1.0 - alpha2) + alpha2);
        float weight = 2.0 * n_l * v_h / (smith * h.z);
        float grazing = 1.0 - v_h, grazing2 = grazing * grazing;
        float fresnel = grazing2 * grazing2 * grazing;
        total += weight * vec2(1.0 - fresnel, fresnel);
    }
    imageStore(table, ivec3(texel, 0), vec4(total / float(SAMPLES), 0.0, 0.0));
}
