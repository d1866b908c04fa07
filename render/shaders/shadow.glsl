// How much of a sun's light reaches a surface: what render.passes.shadow has drawn, filtered.

layout(set = 3, binding = 0) uniform sampler2DShadow shadow_map;
layout(set = 3, binding = 1) uniform Shadow {
    mat4 clip_from_world;
    vec4 texel;   // its width in metres, and as a share of the map; texels along a side
    ivec4 which;  // x: of the view's lights
} shadow;

// Bilinear in the results of four comparisons (Reeves, Salesin and Cook, "Rendering Antialiased
// Shadows with Depth Maps", 1987), by hand: not every device filters depth.
float compared(vec2 at, float depth) {
    vec4 lit = textureGather(shadow_map, at, depth);
    vec2 part = fract(at * shadow.texel.z - 0.5);
    return mix(mix(lit.w, lit.z, part.x), mix(lit.x, lit.y, part.x), part.y);
}

// n: the face's normal, towards the light. The place asked for is moved off the surface by what
// the filter reaches, the farther the more the light grazes (Holbert, "Normal Offset Shadows",
// 2010), or the surface would shade itself.
float sunlit(vec3 position, vec3 n, vec3 l) {
    float n_l = clamp(dot(n, l), 0.0, 1.0);
    vec3 from = position + shadow.texel.x * (n * (2.5 * sqrt(1.0 - n_l * n_l)) + l * 0.75);
    vec3 seen = (shadow.clip_from_world * vec4(from, 1.0)).xyz;
    vec2 at = seen.xy * 0.5 + 0.5, half_texel = vec2(0.5, -0.5) * shadow.texel.y;
    return 0.25 * (compared(at + half_texel.xx, seen.z) + compared(at + half_texel.xy, seen.z) +
                   compared(at + half_texel.yx, seen.z) + compared(at + half_texel.yy, seen.z));
}
