#version 460
// Metallic-roughness shading of one directional light and a uniform environment, after glTF 2.0
// appendix B. Output is linear; the sRGB attachment encodes it.

layout(constant_id = 0) const bool HAS_BASE_COLOR = false;
layout(constant_id = 1) const bool HAS_METALLIC_ROUGHNESS = false;
layout(constant_id = 2) const bool HAS_NORMAL = false;
layout(constant_id = 3) const bool HAS_OCCLUSION = false;
layout(constant_id = 4) const bool HAS_EMISSIVE = false;
layout(constant_id = 5) const bool HAS_TANGENTS = false;
layout(constant_id = 6) const int ALPHA_MODE = 0;  // render.scene.AlphaMode

const int ALPHA_OPAQUE = 0, ALPHA_MASK = 1;

layout(location = 0) in vec3 world_position;
layout(location = 1) in vec3 world_normal;
layout(location = 2) in vec4 world_tangent;
layout(location = 3) in vec4 texture_uv;
layout(location = 4) in vec4 vertex_color;

layout(set = 0, binding = 0) uniform View {
    mat4 clip_from_world;
    vec4 eye;
    vec4 towards_light;
    vec4 illuminance;
    vec4 ambient;  // w: exposure
} view;

layout(set = 1, binding = 0) uniform Material {
    vec4 base_color;
    vec4 emissive;       // w: alpha cutoff
    vec4 factors;        // metallic, roughness, normal scale, occlusion strength
    vec4 second_uv;      // 1 where base color, metallic-roughness, normal, occlusion use set 1
    vec4 second_uv_too;  // x: emissive
} material;

layout(set = 1, binding = 1) uniform sampler2D base_color_map;
layout(set = 1, binding = 2) uniform sampler2D metallic_roughness_map;
layout(set = 1, binding = 3) uniform sampler2D normal_map;
layout(set = 1, binding = 4) uniform sampler2D occlusion_map;
layout(set = 1, binding = 5) uniform sampler2D emissive_map;

layout(location = 0) out vec4 radiance;

const float PI = 3.14159265358979;
const float SMALLEST_ALPHA = 0.002;  // keeps the mirror's highlight finite

vec2 uv_of(float second) { return second > 0.5 ? texture_uv.zw : texture_uv.xy; }

// Tangent frame from screen-space derivatives, for meshes without tangents
// (Schueler, "Normal Mapping Without Precomputed Tangents", ShaderX 5).
mat3 derivative_frame(vec3 n, vec2 uv) {
    // dFdy runs down the picture; negated, x and y turn the way the formula assumes.
    vec3 p_x = dFdx(world_position), p_y = -dFdy(world_position);
    vec2 uv_x = dFdx(uv), uv_y = -dFdy(uv);
    vec3 across = cross(p_y, n), along = cross(n, p_x);
    vec3 t = across * uv_x.x + along * uv_y.x;
    // v grows downwards in glTF, the +Y of a normal map points upwards.
    vec3 b = -(across * uv_x.y + along * uv_y.y);
    float longest = max(dot(t, t), dot(b, b));
    float scale = longest > 0.0 ? inversesqrt(longest) : 0.0;
    return mat3(t * scale, b * scale, n);
}

vec3 shading_normal() {
    vec3 n = normalize(world_normal);
    if (!gl_FrontFacing) n = -n;
    if (!HAS_NORMAL) return n;
    vec2 uv = uv_of(material.second_uv.z);
    mat3 frame;
    if (HAS_TANGENTS) {
        vec3 t = normalize(world_tangent.xyz);
        vec3 b = cross(normalize(world_normal), t) * world_tangent.w;
        frame = gl_FrontFacing ? mat3(t, b, n) : mat3(-t, -b, n);
    } else {
        frame = derivative_frame(n, uv);
    }
    vec3 texel = texture(normal_map, uv).xyz * 2.0 - 1.0;
    return normalize(frame * (texel * vec3(material.factors.zz, 1.0)));
}

// Appendix B.3.2: Trowbridge-Reitz (GGX) distribution.
float distribution(float n_h, float a2) {
    float f = (n_h * a2 - n_h) * n_h + 1.0;
    return a2 / (PI * f * f);
}

// Appendix B.3.3: height-correlated Smith masking-shadowing over (4 n.l n.v).
float visibility(float n_l, float n_v, float a2) {
    float l = n_l * sqrt(n_v * n_v * (1.0 - a2) + a2);
    float v = n_v * sqrt(n_l * n_l * (1.0 - a2) + a2);
    return 0.5 / max(l + v, 1e-6);
}

// Reflectance of a uniform white environment (Karis, "Physically Based Shading on Mobile", 2014).
vec3 environment_reflectance(vec3 f0, float roughness, float n_v) {
    vec4 r = roughness * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
    float a = min(r.x * r.x, exp2(-9.28 * n_v)) * r.x + r.y;
    vec2 scale_bias = vec2(-1.04, 1.04) * a + r.zw;
    return f0 * scale_bias.x + scale_bias.y;
}

void main() {
    vec4 base = material.base_color * vertex_color;
    if (HAS_BASE_COLOR) base *= texture(base_color_map, uv_of(material.second_uv.x));
    if (ALPHA_MODE == ALPHA_OPAQUE) base.a = 1.0;
    // Derivatives below need every invocation of a quad: discard comes last.
    bool cut_away = ALPHA_MODE == ALPHA_MASK && base.a < material.emissive.w;

    float metallic = material.factors.x, roughness = material.factors.y;
    if (HAS_METALLIC_ROUGHNESS) {
        vec2 texel = texture(metallic_roughness_map, uv_of(material.second_uv.y)).bg;
        metallic *= texel.x;
        roughness *= texel.y;
    }
    float occlusion = 1.0;
    if (HAS_OCCLUSION) {
        float texel = texture(occlusion_map, uv_of(material.second_uv.w)).r;
        occlusion = 1.0 + material.factors.w * (texel - 1.0);
    }
    vec3 emitted = material.emissive.rgb;
    if (HAS_EMISSIVE) emitted *= texture(emissive_map, uv_of(material.second_uv_too.x)).rgb;

    vec3 n = shading_normal();
    vec3 v = normalize(view.eye.xyz - world_position);
    vec3 l = view.towards_light.xyz;
    vec3 h = normalize(l + v);
    float n_l = clamp(dot(n, l), 0.0, 1.0), n_v = clamp(abs(dot(n, v)), 1e-4, 1.0);
    float n_h = clamp(dot(n, h), 0.0, 1.0), v_h = clamp(dot(v, h), 0.0, 1.0);

    vec3 f0 = mix(vec3(0.04), base.rgb, metallic);
    vec3 diffuse = base.rgb * (1.0 - metallic);
    float alpha = max(roughness * roughness, SMALLEST_ALPHA), a2 = alpha * alpha;
    float grazing = 1.0 - v_h, grazing2 = grazing * grazing;
    vec3 f = f0 + (1.0 - f0) * (grazing2 * grazing2 * grazing);

    vec3 reflected = (1.0 - f) * diffuse / PI + f * distribution(n_h, a2) * visibility(n_l, n_v, a2);
    vec3 light = reflected * view.illuminance.rgb * n_l;
    light += (diffuse + environment_reflectance(f0, roughness, n_v)) * view.ambient.rgb / PI * occlusion;
    light += emitted;

    if (cut_away) discard;
    radiance = vec4(light * view.ambient.w, base.a);
}
