// What the fragment shaders know of a tile and of the light around it.

#include "constants.glsl"

const int MAX_LIGHTS = 17;
struct Light {  // render.lights
    vec4 place;      // world frame: position, or with w 0 the direction towards it
    vec4 intensity;  // linear RGB: candela, or lux; w: 1 / reach
    vec4 axis;       // from what it shines on towards a spot light; w: the cone's scale
    vec4 cone;       // x: the cone's offset
};

#ifdef VIEW_IN_STORAGE
layout(set = 0, binding = 4, std140) readonly buffer View {
#else
layout(set = 0, binding = 0) uniform View {
#endif
    mat4 clip_from_world;
    vec4 eye;       // world frame; w 0: the direction towards it, of a parallel projection
    vec4 ambient;   // linear RGB irradiance; w: exposure
    vec4 sky;       // factor on the environment, cosine and sine of its turn, last level
    ivec4 counts;   // lights, tone mapping
    Light lights[MAX_LIGHTS];
} view;

layout(set = 2, binding = 0) uniform samplerCube sky;
layout(set = 2, binding = 1) uniform samplerCube reflected_sky;  // by roughness
layout(set = 2, binding = 2) uniform samplerCube diffuse_sky;

// World frame to the environment's, which is turned about +Y.
vec3 turned(vec3 way) {
    return vec3(view.sky.y * way.x - view.sky.z * way.z, way.y,
                view.sky.y * way.z + view.sky.z * way.x);
}

const int TONE_NEUTRAL = 1, TONE_ACES = 2;  // render.pieces.ToneMapping

// Khronos PBR Neutral (https://github.com/KhronosGroup/ToneMapping): base colours stay as they are
// below its knee.
vec3 neutral(vec3 color) {
    const float KNEE = 0.8 - 0.04, DESATURATION = 0.15;
    float least = min(color.r, min(color.g, color.b));
    color -= least < 0.08 ? least - 6.25 * least * least : 0.04;
    float peak = max(color.r, max(color.g, color.b));
    if (peak < KNEE) return color;
    float rest = 1.0 - KNEE, lowered = 1.0 - rest * rest / (peak + rest - KNEE);
    float kept = 1.0 / (DESATURATION * (peak - lowered) + 1.0);
    return mix(vec3(lowered), color * (lowered / peak), kept);
}

// Stephen Hill's fit of the ACES reference and output transforms for sRGB
// (https://github.com/TheRealMJP/BakingLab/blob/master/BakingLab/ACES.hlsl).
vec3 aces(vec3 color) {
    const mat3 INPUT = mat3(0.59719, 0.07600, 0.02840, 0.35458, 0.90834, 0.13383, 0.04823, 0.01566, 0.83777);
    const mat3 OUTPUT = mat3(1.60475, -0.10208, -0.00327, -0.53108, 1.10813, -0.07276, -0.07367, -0.00605, 1.07602);
    vec3 v = INPUT * color;
    v = (v * (v + 0.0245786) - 0.000090537) / (v * (0.983729 * v + 0.4329510) + 0.238081);
    return clamp(OUTPUT * v, 0.0, 1.0);
}

vec3 tone_mapped(vec3 color) {
    if (view.counts.y == TONE_NEUTRAL) return neutral(color);
    if (view.counts.y == TONE_ACES) return aces(color);
    return color;
}
