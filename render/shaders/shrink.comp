#version 460
#extension GL_GOOGLE_include_directive : require
// A small cube of environment light: each texel is the mean of what it covers, by solid angle (the
// levels of a cube count all texels alike, though at a corner they cover a fifth of the middle's).

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform samplerCube sky;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray faces;

void main() {
    uvec3 texel = gl_GlobalInvocationID;
    uint side = imageSize(faces).x, source = textureSize(sky, 0).x, across = source / side;
    if (max(texel.x, texel.y) >= side) return;
    vec3 total = vec3(0.0);
    float weights = 0.0;
    for (uint y = 0; y < across; y++)
        for (uint x = 0; x < across; x++) {
            vec3 way = cube_direction(uvec3(texel.xy * across + uvec2(x, y), texel.z), float(source));
            float squared = dot(way, way), weight = inversesqrt(squared) / squared;
            total += weight * textureLod(sky, way, 0.0).rgb;
            weights += weight;
        }
    imageStore(faces, ivec3(texel), vec4(total / weights, 1.0));
}
