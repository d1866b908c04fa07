#version 460
// What a MASK material cuts away lets the light through.

layout(constant_id = 0) const bool HAS_BASE_COLOR = false;
layout(constant_id = 8) const bool UV_TRANSFORMS = false;

layout(set = 0, binding = 0) uniform Material {  // the beginning of raster.frag's
    vec4 base_color;
    vec4 emissive;     // w: alpha cutoff
    vec4 factors, layers;
    vec4 uv_rows[2];   // of the base colour's map; w of the first: 1 for set 1
} material;
layout(set = 0, binding = 1) uniform sampler2D base_color_map;

layout(location = 0) in vec4 texture_uv;
layout(location = 1) in float vertex_alpha;

void main() {
    float alpha = material.base_color.a * vertex_alpha;
    if (HAS_BASE_COLOR) {
        vec4 u = material.uv_rows[0], v = material.uv_rows[1];
        vec3 at = vec3(u.w > 0.5 ? texture_uv.zw : texture_uv.xy, 1.0);
        if (UV_TRANSFORMS) at.xy = vec2(dot(u.xyz, at), dot(v.xyz, at));
        alpha *= texture(base_color_map, at.xy).a;
    }
    if (alpha < material.emissive.w) discard;
}
