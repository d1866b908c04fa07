#version 460
#extension GL_GOOGLE_include_directive : require
// One level of a cube of environment light, seen through a GGX lobe about each direction (the split
// sum's first part: Karis, "Real Shading in Unreal Engine 4", 2013), or through a cosine lobe.
// Samples read the level of the source that is as wide as they stand for (Krivanek and Colbert,
// "Real-time Shading with Filtered Importance Sampling", 2008), which keeps small suns from
// sparkling.

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform samplerCube sky;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray faces;

layout(push_constant) uniform Level {
    float alpha2;   // of the lobe; 0: as it is; above 1: a cosine lobe
    uint samples;
} level;

float level_of(float density, float texels) {
    float texel = 4.0 * PI / texels, stands_for = 1.0 / (float(level.samples) * max(density, 1e-9));
    return max(0.5 * log2(stands_for / texel) + 1.0, 0.0);
}

void main() {
    uvec3 texel = gl_GlobalInvocationID;
    uint side = imageSize(faces).x;
    if (max(texel.x, texel.y) >= side) return;
    vec3 way = normalize(cube_direction(texel, float(side)));
    float source = float(textureSize(sky, 0).x), texels = 6.0 * source * source;
    if (level.alpha2 == 0.0) {
        float as_wide = log2(source / float(side));
        imageStore(faces, ivec3(texel), textureLod(sky, way, as_wide));
        return;
    }
    mat3 frame = frame_about(way);
    bool cosine_lobe = level.alpha2 > 1.0;
    vec3 total = vec3(0.0);
    float weights = 0.0;
    for (uint i = 0; i < level.samples; i++) {
        vec2 u = hammersley(i, level.samples);
        vec3 l;
        float density, weight = 1.0;
        if (cosine_lobe) {
            l = vec3(sqrt(u.x) * cos(2.0 * PI * u.y), sqrt(u.x) * sin(2.0 * PI * u.y), sqrt(1.0 - u.x));
            density = l.z / PI;
        } else {
            vec3 h = ggx_half(u, level.alpha2);
            l = vec3(2.0 * h.z * h.xy, 2.0 * h.z * h.z - 1.0);
            if (l.z <= 0.0) continue;
            density = ggx_density(h.z, level.alpha2) / 4.0;
            weight = l.z;
        }
        total += weight * textureLod(sky, frame * l, level_of(density, texels)).rgb;
        weights += weight;
    }
    imageStore(faces, ivec3(texel), vec4(total / max(weights, 1e-6), 1.0));
}
