#version 460
#extension GL_GOOGLE_include_directive : require
// One rough level of a cube of environment light, as prefilter.comp makes the sharp ones, from every
// texel of a small cube (shrink.comp): samples would miss suns, and this is exact for them. With
// alpha 1 the lobe is the cosine's, which is diffuse light.

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform samplerCube sky;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray faces;

layout(push_constant) uniform Level {
    float alpha2;   // of the lobe
    uint unused;
} level;

void main() {
    uvec3 texel = gl_GlobalInvocationID;
    uint side = imageSize(faces).x;
    if (max(texel.x, texel.y) >= side) return;
    vec3 n = normalize(cube_direction(texel, float(side)));
    uint source = textureSize(sky, 0).x;
    vec3 total = vec3(0.0);
    float weights = 0.0;
    for (uint face = 0; face < 6; face++)
        for (uint y = 0; y < source; y++)
            for (uint x = 0; x < source; x++) {
                vec3 way = cube_direction(uvec3(x, y, face), float(source));
                float squared = dot(way, way), n_l = dot(n, way) * inversesqrt(squared);
                if (n_l <= 0.0) continue;
                // Seen along n, n.h is the cosine of half the angle between n and l; and what a
                // texel spans falls with the cube of its distance.
                float density = ggx_density(sqrt(0.5 + 0.5 * n_l), level.alpha2);
                float weight = n_l * density / (squared * sqrt(squared));
                total += weight * textureLod(sky, way, 0.0).rgb;
                weights += weight;
            }
    imageStore(faces, ivec3(texel), vec4(total / weights, 1.0));
}
