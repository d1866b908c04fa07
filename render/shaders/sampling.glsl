// Directions spread over a lobe, alike on every run.

#include "constants.glsl"

// Point i of n, low discrepancy (Hammersley; the radical inverse in base 2).
vec2 hammersley(uint i, uint n) { return vec2((float(i) + 0.5) / float(n), float(bitfieldReverse(i)) * 2.3283064365386963e-10); }

// Half vector about +Z with density D(h) n.h of Trowbridge-Reitz (GGX).
vec3 ggx_half(vec2 u, float alpha2) {
    float cosine = sqrt((1.0 - u.x) / (1.0 + (alpha2 - 1.0) * u.x));
    float sine = sqrt(max(1.0 - cosine * cosine, 0.0)), phi = 2.0 * PI * u.y;
    return vec3(sine * cos(phi), sine * sin(phi), cosine);
}

float ggx_density(float n_h, float alpha2) {
    float f = (n_h * alpha2 - n_h) * n_h + 1.0;
    return alpha2 / (PI * f * f);
}

// From +Z up to `n` up, without a seam but at -Z (Duff et al., "Building an Orthonormal Basis,
// Revisited", JCGT 6(1), 2017).
mat3 frame_about(vec3 n) {
    float side = n.z >= 0.0 ? 1.0 : -1.0;
    float a = -1.0 / (side + n.z), b = n.x * n.y * a;
    return mat3(vec3(1.0 + side * n.x * n.x * a, side * b, -side * n.x),
                vec3(b, side + n.y * n.y * a, -n.y), n);
}

// The direction a texel of a cube's face looks at (Vulkan 1.3, table "Cube map face selection").
vec3 cube_direction(uvec3 texel, float side) {
    vec2 st = 2.0 * (vec2(texel.xy) + 0.5) / side - 1.0;
    vec3 faces[6] = vec3[6](vec3(1.0, -st.y, -st.x), vec3(-1.0, -st.y, st.x), vec3(st.x, 1.0, st.y),
                            vec3(st.x, -1.0, -st.y), vec3(st.x, -st.y, 1.0), vec3(-st.x, -st.y, -1.0));
    return faces[texel.z];
}
