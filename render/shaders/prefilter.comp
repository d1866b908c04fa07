#version 460
#extension GL_GOOGLE_include_directive : require
// One sharp level of a cube of environment light, seen through a GGX lobe about each direction (the
// split sum's first part: Karis, "Real Shading in Unreal Engine 4", 2013). Samples read the level of
// the source that is as wide as they stand for (Krivanek and Colbert, "Real-time Shading with
// Filtered Importance Sampling", 2008), which keeps small suns from sparkling.

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform samplerCube sky;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray faces;

layout(push_constant) uniform Level {
    float alpha2;   // of the lobe; 0: as it is
    uint samples;
} level;

float level_of(float density, float texels) {
    float texel = 4.0 * PI / texels, stands_for = 1.0 / (float(level.samples) * max(density, 1e-9));
    return max(0.5 * log2(stands_for / texel) + 0.5, 0.0);
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
    vec3 total = vec3(0.0);
    float weights = 0.0;
    for (uint i = 0; i < level.samples; i++) {
        vec3 h = ggx_half(hammersley(i, level.samples), level.alpha2);
        vec3 l = vec3(2.0 * h.z * h.xy, 2.0 * h.z * h.z - 1.0);
        if (l.z <= 0.0) continue;
        float density = ggx_density(h.z, level.alpha2) / 4.0;
        total += l.z * textureLod(sky, frame * l, level_of(density, texels)).rgb;
        weights += l.z;
    }
    imageStore(faces, ivec3(texel), vec4(total / weights, 1.0));
}
