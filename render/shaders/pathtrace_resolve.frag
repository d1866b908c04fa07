#version 460
#extension GL_GOOGLE_include_directive : require
// The mean of a pixel's samples: light is exposed and tone mapped, the rest shown as it is.

#include "view.glsl"

layout(set = 3, binding = 0, rgba32f) uniform readonly image2D light;  // as of pathtrace.comp
layout(set = 3, binding = 1, rgba32f) uniform readonly image2D plain;

layout(location = 0) out vec4 radiance;

void main() {
    ivec2 here = ivec2(gl_FragCoord.xy);
    vec4 lit = imageLoad(light, here), shown = imageLoad(plain, here);
    vec3 mapped = tone_mapped(lit.rgb / max(lit.w, 1.0) * view.ambient.w);
    radiance = vec4((mapped * lit.w + shown.rgb) / max(shown.w, 1.0), 1.0);
}
