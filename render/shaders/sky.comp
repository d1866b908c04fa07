#version 460
#extension GL_GOOGLE_include_directive : require
// An equirectangular picture to the faces of a cube; 4x4 samples a texel, so that nothing small and
// bright falls between them.

#include "sampling.glsl"

layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform sampler2D picture;
layout(set = 0, binding = 1, rgba16f) writeonly uniform image2DArray faces;

const uint ACROSS = 4;

void main() {
    uvec3 texel = gl_GlobalInvocationID;
    uint side = imageSize(faces).x;
    if (max(texel.x, texel.y) >= side) return;
    vec3 total = vec3(0.0);
    for (uint i = 0; i < ACROSS * ACROSS; i++) {
        uvec3 fine = uvec3(texel.xy * ACROSS + uvec2(i % ACROSS, i / ACROSS), texel.z);
        vec3 way = normalize(cube_direction(fine, float(side * ACROSS)));
        vec2 uv = vec2(atan(way.z, way.x) / (2.0 * PI) + 0.5, acos(clamp(way.y, -1.0, 1.0)) / PI);
        total += textureLod(picture, uv, 0.0).rgb;
    }
    imageStore(faces, ivec3(texel), vec4(total / float(ACROSS * ACROSS), 1.0));
}
