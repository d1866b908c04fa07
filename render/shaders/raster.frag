#version 460
#extension GL_GOOGLE_include_directive : require
// Metallic-roughness shading of lights and a uniform environment, after glTF 2.0
// appendix B. Output is linear; the sRGB attachment encodes it.

layout(constant_id = 0) const bool HAS_BASE_COLOR = false;
layout(constant_id = 1) const bool HAS_METALLIC_ROUGHNESS = false;
layout(constant_id = 2) const bool HAS_NORMAL = false;
layout(constant_id = 3) const bool HAS_OCCLUSION = false;
layout(constant_id = 4) const bool HAS_EMISSIVE = false;
layout(constant_id = 5) const bool HAS_TANGENTS = false;
layout(constant_id = 6) const int ALPHA_MODE = 0;  // render.scene.AlphaMode

layout(constant_id = 7) const bool UNLIT = false;

layout(constant_id = 8) const bool UV_TRANSFORMS = false;
layout(constant_id = 9) const int LIGHTING = 0;  // render.lights.Lighting
layout(constant_id = 10) const bool SKY = false;  // an environment map, else a uniform one
layout(constant_id = 11) const bool SHARED_OCCLUSION = false;  // it is the red of metallic-roughness
layout(constant_id = 12) const bool COATED = false;
layout(constant_id = 13) const bool SHADOWS = false;
layout(constant_id = 14) const bool TRANSMITS = false;

#include "view.glsl"
#include "shadow.glsl"

const int NO_LIGHT = 0, ONE_SUN = 1;
const int ALPHA_OPAQUE = 0, ALPHA_MASK = 1, ALPHA_BLEND = 2;

layout(location = 0) in vec3 world_position;
layout(location = 1) in vec3 world_normal;
layout(location = 2) in vec4 world_tangent;
layout(location = 3) in vec4 texture_uv;
layout(location = 4) in vec4 vertex_color;

layout(set = 0, binding = 1) uniform sampler2D reflectances;  // of a uniform environment: brdf.comp

layout(set = 1, binding = 0) uniform Material {
    vec4 base_color;
    vec4 emissive;       // w: alpha cutoff
    vec4 factors;        // metallic, roughness, normal scale, occlusion strength
    vec4 layers;         // reflectance of what is no metal, coat, its roughness, transmission
    vec4 uv_rows[10];    // per map two rows of its texture transform; w of the first: 1 for set 1
} material;

const int BASE_COLOR = 0, METALLIC_ROUGHNESS = 1, NORMAL = 2, OCCLUSION = 3, EMISSIVE = 4;

layout(set = 1, binding = 1) uniform sampler2D base_color_map;
layout(set = 1, binding = 2) uniform sampler2D metallic_roughness_map;
layout(set = 1, binding = 3) uniform sampler2D normal_map;
layout(set = 1, binding = 4) uniform sampler2D occlusion_map;
layout(set = 1, binding = 5) uniform sampler2D emissive_map;

layout(location = 0) out vec4 radiance;

const float SMALLEST_ALPHA = 0.002;  // keeps the mirror's highlight finite

vec2 uv_of(int map) {
    vec4 u = material.uv_rows[2 * map], v = material.uv_rows[2 * map + 1];
    vec3 at = vec3(u.w > 0.5 ? texture_uv.zw : texture_uv.xy, 1.0);
    if (!UV_TRANSFORMS) return at.xy;
    return vec2(dot(u.xyz, at), dot(v.xyz, at));
}

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
    vec2 uv = uv_of(NORMAL);
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

// The share of a uniform environment's light that a specular layer of reflectance f0 sends to the
// eye at once, and after several bounces between its facets (Fdez-Agueera, "A Multiple-Scattering
// Microfacet Model for Real-Time Image-based Lighting", JCGT 8(1), 2019).
struct Scattered { vec3 once, often; };

Scattered scattered(vec3 f0, vec2 scale_bias) {
    vec3 once = f0 * scale_bias.x + scale_bias.y;
    float missed = 1.0 - (scale_bias.x + scale_bias.y);
    vec3 mean = f0 + (1.0 - f0) / 21.0;
    return Scattered(once, once * mean / (1.0 - missed * mean) * missed);
}

struct Surface {
    vec3 normal, towards_eye;
    vec3 diffuse, f0;
    float roughness, alpha2, n_v;
    vec2 scale_bias;    // of f0 in a uniform environment
    vec3 compensation;  // of the specular lobe, for light that facets reflect more than once
};

// What a surface sends to the eye of light from `l` (unit length), per lux that faces it.
vec3 reflected(Surface s, vec3 l, float n_l) {
    vec3 h = normalize(l + s.towards_eye);
    float n_h = clamp(dot(s.normal, h), 0.0, 1.0), v_h = clamp(dot(s.towards_eye, h), 0.0, 1.0);
    float grazing = 1.0 - v_h, grazing2 = grazing * grazing;
    vec3 f = s.f0 + (1.0 - s.f0) * (grazing2 * grazing2 * grazing);
    return (1.0 - f) * s.diffuse / PI +
           f * s.compensation * (distribution(n_h, s.alpha2) * visibility(n_l, s.n_v, s.alpha2));
}

// The light around that comes to the eye by way of facets about a normal, if they lost none.
vec3 mirrored(vec3 normal, vec3 towards_eye, float roughness, float alpha2) {
    vec3 mean = view.ambient.rgb / PI;
    if (!SKY) return mean;
    vec3 way = reflect(-towards_eye, normal);
    // Rough lobes lean to the normal, as in Filament and three.js. Nearer to the integral by a
    // fifth is the fit of Lagarde and de Rousiers, "Moving Frostbite to Physically Based Rendering
    // 3.0", 2014, 4.9.3, two roots dearer.
    way = mix(way, normal, alpha2);
    float level = view.sky.w * roughness * (2.0 - roughness);
    return mean + textureLod(reflected_sky, turned(way), level).rgb * view.sky.x;
}

// What a surface sends to the eye of the light around it.
vec3 surrounded(Surface s, vec3 base, float metallic, float occlusion) {
    Scattered dielectric = scattered(vec3(material.layers.x), s.scale_bias);
    Scattered metal = scattered(base, s.scale_bias);
    vec3 once = mix(dielectric.once, metal.once, metallic);
    vec3 often = mix(dielectric.often, metal.often, metallic);
    vec3 below = s.diffuse * (1.0 - dielectric.once - dielectric.often);
    // Lagarde and de Rousiers, ibid., 4.10.2.
    float open = 1.0;
    if (HAS_OCCLUSION) open = clamp(pow(s.n_v + occlusion, exp2(-16.0 * s.roughness - 1.0)) - 1.0 + occlusion, 0.0, 1.0);
    vec3 mean = view.ambient.rgb / PI;
    if (SKY) mean += textureLod(diffuse_sky, turned(s.normal), 0.0).rgb * view.sky.x;
    vec3 facing = mirrored(s.normal, s.towards_eye, s.roughness, s.alpha2);
    return facing * once * open + mean * (often + below) * occlusion;
}

// A clear layer over all else (KHR_materials_clearcoat): what it reflects it keeps from what lies
// below. It is as even as the mesh: normal maps are of what it covers.
struct Coat {
    vec3 normal;
    float share;  // of the light it reflects to the eye
    float roughness, alpha2, n_v, once;
};

vec2 reflectance(float roughness, float n_v) {
    vec2 texels = vec2(textureSize(reflectances, 0));
    return textureLod(reflectances, (vec2(roughness, n_v) * (texels - 1.0) + 0.5) / texels, 0.0).rg;
}

Coat coat_towards(vec3 eye) {
    Coat c;
    c.normal = normalize(gl_FrontFacing ? world_normal : -world_normal);
    c.n_v = clamp(abs(dot(c.normal, eye)), 1e-4, 1.0);
    float grazing = 1.0 - c.n_v, grazing2 = grazing * grazing;
    c.share = material.layers.y * (0.04 + 0.96 * grazing2 * grazing2 * grazing);
    c.roughness = material.layers.z;
    float alpha = max(c.roughness * c.roughness, SMALLEST_ALPHA);
    c.alpha2 = alpha * alpha;
    vec2 scale_bias = reflectance(c.roughness, c.n_v);
    c.once = scale_bias.x + scale_bias.y;
    return c;
}

// Per lux from `l`, before its share; facets lose nothing, because light meets them again.
float coat_reflected(Coat c, vec3 eye, vec3 l) {
    float n_l = clamp(dot(c.normal, l), 0.0, 1.0), n_h = clamp(dot(c.normal, normalize(l + eye)), 0.0, 1.0);
    return distribution(n_h, c.alpha2) * visibility(n_l, c.n_v, c.alpha2) * n_l / c.once;
}

// Illuminance of a light on a surface that faces it, and the direction towards it
// (KHR_lights_punctual).
vec3 arriving(Light light, out vec3 l) {
    if (light.place.w == 0.0) {
        l = light.place.xyz;
        return light.intensity.rgb;
    }
    vec3 way = light.place.xyz - world_position;
    float squared = max(dot(way, way), 1e-8);
    l = way * inversesqrt(squared);
    float share = light.intensity.w * light.intensity.w * squared;  // of the reach, squared
    float window = clamp(1.0 - share * share, 0.0, 1.0);
    float inside = clamp(dot(l, light.axis.xyz) * light.axis.w + light.cone.x, 0.0, 1.0);
    return light.intensity.rgb * (window * inside * inside / squared);
}

// What reaches the surface of the light with that number.
float reaching(int light, vec3 l) {
    if (!SHADOWS || light != shadow.which.x) return 1.0;
    vec3 n = normalize(world_normal);
    return sunlit(world_position, dot(n, l) < 0.0 ? -n : n, l);
}

void main() {
    vec4 base = material.base_color * vertex_color;
    if (HAS_BASE_COLOR) base *= texture(base_color_map, uv_of(BASE_COLOR));
    if (ALPHA_MODE == ALPHA_OPAQUE) base.a = 1.0;
    // Derivatives below need every invocation of a quad: discard comes last.
    bool cut_away = ALPHA_MODE == ALPHA_MASK && base.a < material.emissive.w;
    if (UNLIT) {  // as its author made it, like the background
        if (cut_away) discard;
        radiance = ALPHA_MODE == ALPHA_BLEND ? vec4(base.rgb * base.a, base.a) : base;
        return;
    }

    float metallic = material.factors.x, roughness = material.factors.y;
    float opening = 1.0;
    if (HAS_METALLIC_ROUGHNESS) {
        vec3 texel = texture(metallic_roughness_map, uv_of(METALLIC_ROUGHNESS)).rgb;
        metallic *= texel.b;
        roughness *= texel.g;
        opening = texel.r;
    }
    float occlusion = 1.0;
    if (HAS_OCCLUSION) {
        if (!SHARED_OCCLUSION) opening = texture(occlusion_map, uv_of(OCCLUSION)).r;
        occlusion = 1.0 + material.factors.w * (opening - 1.0);
    }
    vec3 emitted = material.emissive.rgb;
    if (HAS_EMISSIVE) emitted *= texture(emissive_map, uv_of(EMISSIVE)).rgb;

    Surface s;
    s.normal = shading_normal();
    s.towards_eye = normalize(view.eye.xyz - world_position * view.eye.w);
    s.f0 = mix(vec3(material.layers.x), base.rgb, metallic);
    s.diffuse = base.rgb * (1.0 - metallic);
    if (TRANSMITS) s.diffuse *= 1.0 - material.layers.w;
    float alpha = max(roughness * roughness, SMALLEST_ALPHA);
    s.roughness = roughness;
    s.alpha2 = alpha * alpha;
    s.n_v = clamp(abs(dot(s.normal, s.towards_eye)), 1e-4, 1.0);
    s.scale_bias = reflectance(roughness, s.n_v);
    // Turquin, "Practical Multiple Scattering Compensation for Microfacet Models", 2019, eq. 16.
    s.compensation = 1.0 + s.f0 * (1.0 / (s.scale_bias.x + s.scale_bias.y) - 1.0);

    Coat coat;
    vec3 light = surrounded(s, base.rgb, metallic, occlusion), on_top = vec3(0.0);
    if (COATED) {
        coat = coat_towards(s.towards_eye);
        on_top = mirrored(coat.normal, s.towards_eye, coat.roughness, coat.alpha2) * occlusion;
    }
    if (LIGHTING == ONE_SUN) {  // by far the most common, and a loop costs
        vec3 l = view.lights[0].place.xyz;
        float n_l = clamp(dot(s.normal, l), 0.0, 1.0);
        vec3 illuminance = view.lights[0].intensity.rgb * reaching(0, l);
        light += reflected(s, l, n_l) * illuminance * n_l;
        if (COATED) on_top += coat_reflected(coat, s.towards_eye, l) * illuminance;
    } else if (LIGHTING != NO_LIGHT) {
        for (int i = 0; i < view.counts.x; i++) {
            vec3 l;
            vec3 illuminance = arriving(view.lights[i], l);
            illuminance *= reaching(i, l);
            float n_l = clamp(dot(s.normal, l), 0.0, 1.0);
            light += reflected(s, l, n_l) * illuminance * n_l;
            if (COATED) on_top += coat_reflected(coat, s.towards_eye, l) * illuminance;
        }
    }
    light += emitted;
    if (COATED) light = mix(light, on_top, coat.share);

    if (cut_away) discard;
    float alpha_out = base.a;
    vec3 shown = tone_mapped(light * view.ambient.w);
    if (ALPHA_MODE == ALPHA_BLEND) shown *= base.a;
    if (TRANSMITS) {
        // Light from straight behind, as through a thin pane, in grey: colours are blended by one
        // number. What the pane reflects is whole, whatever shows through.
        float f0 = material.layers.x;
        float enters = 1.0 - (f0 * s.scale_bias.x + s.scale_bias.y) / (s.scale_bias.x + s.scale_bias.y);
        float through = material.layers.w * (1.0 - metallic) * enters * dot(base.rgb, vec3(1.0 / 3.0));
        if (COATED) through *= 1.0 - coat.share;
        alpha_out *= 1.0 - through;
    }
    radiance = vec4(shown, alpha_out);
}
