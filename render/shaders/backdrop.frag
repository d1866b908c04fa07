#version 460
#extension GL_GOOGLE_include_directive : require
// The environment as a background.

#include "view.glsl"

layout(location = 0) in vec3 way;
layout(location = 0) out vec4 radiance;

void main() {
    vec3 light = texture(sky, turned(normalize(way))).rgb * view.sky.x;
    radiance = vec4(tone_mapped(light * view.ambient.w), 1.0);
}
