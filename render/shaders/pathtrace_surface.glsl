// How a surface scatters light: the metallic-roughness material of glTF 2.0, appendix B, with the
// compensation for several bounces between facets that raster.frag has. Include after view.glsl,
// sampling.glsl and pathtrace_scene.glsl.

layout(set = 0, binding = 1) uniform sampler2D reflectances;  // of a uniform environment: brdf.comp

const float SMALLEST_ALPHA = 0.002;  // keeps the mirror's highlight finite

struct Surface {
    vec3 place, face;        // face: the triangle's normal, on the side of the eye
    vec3 normal, towards_eye;
    vec3 emitted, diffuse, f0;
    float alpha, alpha2, n_v;
    vec3 compensation;       // of the specular lobe, for light that facets reflect more than once
    float below;             // of light, the share that gets through a dielectric's surface
    float specular_chance;   // of sampling that lobe, where the coat's is not
    float through;           // of the light, the share that goes straight on (KHR_materials_transmission)
    vec3 coat_normal;        // the clear coat (KHR_materials_clearcoat) is as even as the mesh
    float coat_share;        // of the light it reflects to the eye, and keeps from what lies below
    float coat_alpha, coat_alpha2, coat_n_v, coat_once;
    float coat_chance;       // of sampling its lobe
};

vec3 world_normal(uint draw, vec3 n) {
    uint at = 6u * draw + 3u;
    return vec3(dot(placements[at].xyz, n), dot(placements[at + 1u].xyz, n), dot(placements[at + 2u].xyz, n));
}

vec3 world_direction(uint draw, vec3 way) {
    uint at = 6u * draw;
    return vec3(dot(placements[at].xyz, way), dot(placements[at + 1u].xyz, way), dot(placements[at + 2u].xyz, way));
}

vec3 unit_or(vec3 v, vec3 otherwise) {
    float squared = dot(v, v);
    return squared > 0.0 ? v * inversesqrt(squared) : otherwise;
}

// Columns: tangent, bitangent, normal; as raster.frag makes them, with the triangle's edges in place
// of derivatives.
mat3 tangent_frame(Triangle triangle, vec3 weights, vec3 vertex_normal, vec3 n, bool front, Map map) {
    if ((triangle.flags & HAS_TANGENTS) != 0u) {
        vec3 tangent = weights.x * vertex_triple(triangle.vertex_a, TANGENT_WORD) +
                       weights.y * vertex_triple(triangle.vertex_b, TANGENT_WORD) +
                       weights.z * vertex_triple(triangle.vertex_c, TANGENT_WORD);
        float side = uintBitsToFloat(vertices[triangle.vertex_a * VERTEX_WORDS + TANGENT_WORD + 3u]);
        vec3 t = unit_or(world_direction(triangle.draw, tangent), vec3(0.0));
        vec3 b = cross(vertex_normal, t) * side;
        return front ? mat3(t, b, n) : mat3(-t, -b, n);
    }
    vec3 p_x = triangle.b - triangle.a, p_y = triangle.c - triangle.a;
    vec2 corner = uv_of(triangle, vec3(1.0, 0.0, 0.0), map, UV_WORD);
    vec2 uv_x = uv_of(triangle, vec3(0.0, 1.0, 0.0), map, UV_WORD) - corner;
    vec2 uv_y = uv_of(triangle, vec3(0.0, 0.0, 1.0), map, UV_WORD) - corner;
    vec3 across = cross(p_y, n), along = cross(n, p_x);
    float turn = front ? 1.0 : -1.0;  // seen from behind, the edges turn the other way
    vec3 t = (across * uv_x.x + along * uv_y.x) * turn, b = -(across * uv_x.y + along * uv_y.y) * turn;
    float longest = max(dot(t, t), dot(b, b));
    float scale = longest > 0.0 ? inversesqrt(longest) : 0.0;
    return mat3(t * scale, b * scale, n);
}

vec2 reflectance(float roughness, float n_v) {
    vec2 count = vec2(textureSize(reflectances, 0));
    return textureLod(reflectances, (vec2(roughness, n_v) * (count - 1.0) + 0.5) / count, 0.0).rg;
}

// Bent back until it just does not look away from the eye, as interpolated and mapped normals may.
vec3 towards(vec3 eye, vec3 normal) {
    float facing = dot(normal, eye);
    return facing < 1e-3 ? normalize(normal + (1e-3 - facing) * eye) : normal;
}

void add_layers(inout Surface s, Material material, vec3 base, float metallic, float albedo) {
    s.through = material.layers.w * (1.0 - metallic) * s.below;
    s.diffuse *= 1.0 - material.layers.w;
    s.coat_share = s.coat_chance = 0.0;
    if (material.layers.y <= 0.0) return;
    s.coat_n_v = clamp(dot(s.coat_normal, s.towards_eye), 1e-4, 1.0);
    float grazing = 1.0 - s.coat_n_v, grazing2 = grazing * grazing;
    s.coat_share = material.layers.y * (0.04 + 0.96 * grazing2 * grazing2 * grazing);
    s.coat_alpha = max(material.layers.z * material.layers.z, SMALLEST_ALPHA);
    s.coat_alpha2 = s.coat_alpha * s.coat_alpha;
    vec2 scale_bias = reflectance(material.layers.z, s.coat_n_v);
    s.coat_once = scale_bias.x + scale_bias.y;
    s.through *= 1.0 - s.coat_share;
    s.coat_chance = clamp(s.coat_share / (s.coat_share + (1.0 - s.coat_share) * albedo), 0.1, 0.9);
}

Surface surface_at(Hit hit, vec3 way, vec4 base) {
    Triangle triangle = triangle_at(hit.triangle);
    Material material = materials[triangle.material];
    Surface s;
    s.place = hit.weights.x * triangle.a + hit.weights.y * triangle.b + hit.weights.z * triangle.c;
    s.towards_eye = -way;
    s.face = unit_or(cross(triangle.b - triangle.a, triangle.c - triangle.a), -way);
    bool front = dot(s.face, way) < 0.0;
    vec3 vertex_normal = unit_or(world_normal(triangle.draw,
        hit.weights.x * vertex_triple(triangle.vertex_a, NORMAL_WORD) +
        hit.weights.y * vertex_triple(triangle.vertex_b, NORMAL_WORD) +
        hit.weights.z * vertex_triple(triangle.vertex_c, NORMAL_WORD)), s.face);
    if (!front) s.face = -s.face;
    s.normal = front ? vertex_normal : -vertex_normal;
    if (HAS_LAYERS) s.coat_normal = towards(s.towards_eye, s.normal);
    Map map = material.maps[NORMAL];
    if (HAS_NORMAL_MAPS && map.at != NO_MAP) {
        vec3 bump = sampled(map, uv_of(triangle, hit.weights, map, UV_WORD), false).xyz * 2.0 - 1.0;
        mat3 frame = tangent_frame(triangle, hit.weights, vertex_normal, s.normal, front, map);
        s.normal = unit_or(frame * (bump * vec3(material.factors.zz, 1.0)), s.normal);
    }
    s.normal = towards(s.towards_eye, s.normal);
    s.n_v = clamp(dot(s.normal, s.towards_eye), 1e-4, 1.0);

    float metallic = material.factors.x, roughness = material.factors.y;
    map = material.maps[METALLIC_ROUGHNESS];
    if (map.at != NO_MAP) {
        vec2 value = sampled(map, uv_of(triangle, hit.weights, map, UV_WORD), false).bg;
        metallic *= value.x;
        roughness *= value.y;
    }
    s.emitted = material.emissive.rgb;
    map = material.maps[EMISSIVE];
    if (map.at != NO_MAP) s.emitted *= sampled(map, uv_of(triangle, hit.weights, map, UV_WORD), true).rgb;

    float f0 = material.layers.x;
    s.f0 = mix(vec3(f0), base.rgb, metallic);
    s.diffuse = base.rgb * (1.0 - metallic);
    s.alpha = max(roughness * roughness, SMALLEST_ALPHA);
    s.alpha2 = s.alpha * s.alpha;
    vec2 scale_bias = reflectance(roughness, s.n_v);
    float once = scale_bias.x + scale_bias.y;
    // Turquin, "Practical Multiple Scattering Compensation for Microfacet Models", 2019, eq. 16.
    s.compensation = 1.0 + s.f0 * (1.0 / once - 1.0);
    float dielectric = (f0 * scale_bias.x + scale_bias.y) * (1.0 + f0 * (1.0 / once - 1.0));
    s.below = 1.0 - dielectric;
    vec3 specular = (s.f0 * scale_bias.x + scale_bias.y) * s.compensation;
    if (HAS_LAYERS) add_layers(s, material, base.rgb, metallic, dot(specular + s.diffuse * s.below, vec3(1.0 / 3.0)));
    float shiny = dot(specular, vec3(1.0 / 3.0)), matt = dot(s.diffuse, vec3(1.0 / 3.0)) * s.below;
    s.specular_chance = matt > 0.0 ? clamp(shiny / (shiny + matt), 0.1, 0.9) : 1.0;
    return s;
}

// Appendix B.3.2 and B.3.3: Trowbridge-Reitz (GGX), height-correlated Smith over (4 n.l n.v).
float visibility(float n_l, float n_v, float a2) {
    float l = n_l * sqrt(n_v * n_v * (1.0 - a2) + a2);
    float v = n_v * sqrt(n_l * n_l * (1.0 - a2) + a2);
    return 0.5 / max(l + v, 1e-6);
}

// Light scattered to the eye per light that comes from `l`, times the cosine it comes at. from_lamp:
// as raster.frag shades punctual lights; else so that diffuse and specular light add up to no more
// than came (its `surrounded`).
vec3 scattered(Surface s, vec3 l, bool from_lamp) {
    vec3 total = vec3(0.0);
    float n_l = dot(s.normal, l);
    vec3 h = normalize(l + s.towards_eye);
    if (n_l > 0.0) {
        float n_h = clamp(dot(s.normal, h), 0.0, 1.0), v_h = clamp(dot(s.towards_eye, h), 0.0, 1.0);
        float grazing = 1.0 - v_h, grazing2 = grazing * grazing;
        vec3 f = s.f0 + (1.0 - s.f0) * (grazing2 * grazing2 * grazing);
        vec3 under = from_lamp ? 1.0 - f : vec3(s.below);
        total = n_l * (under * s.diffuse / PI +
                       f * s.compensation * (ggx_density(n_h, s.alpha2) * visibility(n_l, s.n_v, s.alpha2)));
    }
    if (!HAS_LAYERS || s.coat_share == 0.0) return total;
    float coat_l = clamp(dot(s.coat_normal, l), 0.0, 1.0), coat_h = clamp(dot(s.coat_normal, h), 0.0, 1.0);
    float coat = ggx_density(coat_h, s.coat_alpha2) * visibility(coat_l, s.coat_n_v, s.coat_alpha2) * coat_l;
    return mix(total, vec3(coat / s.coat_once), s.coat_share);
}

// Of directions by visible normals, per solid angle.
float facet_density(vec3 normal, float n_v, float alpha2, vec3 h) {
    float lobe = n_v + sqrt(n_v * n_v * (1.0 - alpha2) + alpha2);
    return ggx_density(clamp(dot(normal, h), 0.0, 1.0), alpha2) / (2.0 * lobe);
}

// Density of `scattered_way`, per solid angle.
float scatter_density(Surface s, vec3 l) {
    float n_l = dot(s.normal, l);
    vec3 h = normalize(l + s.towards_eye);
    float density = 0.0;
    if (n_l > 0.0) density = mix(n_l / PI, facet_density(s.normal, s.n_v, s.alpha2, h), s.specular_chance);
    if (!HAS_LAYERS || s.coat_chance == 0.0) return density;
    float coat = dot(s.coat_normal, l) > 0.0 ? facet_density(s.coat_normal, s.coat_n_v, s.coat_alpha2, h) : 0.0;
    return mix(density, coat, s.coat_chance);
}

// Visible normals: Dupuy and Benyoub, "Sampling Visible GGX Normals with Spherical Caps", 2023.
vec3 facet_way(vec3 normal, float alpha, vec3 towards_eye, vec2 point) {
    mat3 frame = frame_about(normal);
    float phi = 2.0 * PI * point.y;
    vec3 v = towards_eye * frame;
    vec3 stretched = normalize(vec3(alpha * v.xy, max(v.z, 1e-4)));
    float z = (1.0 - point.x) * (1.0 + stretched.z) - stretched.z;
    float sine = sqrt(clamp(1.0 - z * z, 0.0, 1.0));
    vec3 cap = vec3(sine * cos(phi), sine * sin(phi), z) + stretched;
    vec3 h = frame * normalize(vec3(alpha * cap.xy, max(cap.z, 1e-7)));
    vec3 l = reflect(-towards_eye, h);
    return dot(normal, l) > 0.0 ? normalize(l) : vec3(0.0);
}

// A direction by one of the lobes; zero where it would go under the surface. The point's first
// coordinate picks the lobe, and what is left of it is as even as before.
vec3 scattered_way(Surface s, vec2 point) {
    if (HAS_LAYERS && s.coat_chance > 0.0) {
        if (point.x < s.coat_chance) {
            point.x /= s.coat_chance;
            return facet_way(s.coat_normal, s.coat_alpha, s.towards_eye, point);
        }
        point.x = (point.x - s.coat_chance) / (1.0 - s.coat_chance);
    }
    if (point.x < s.specular_chance) {
        point.x /= s.specular_chance;
        return facet_way(s.normal, s.alpha, s.towards_eye, point);
    }
    point.x = (point.x - s.specular_chance) / (1.0 - s.specular_chance);
    float radius = sqrt(point.x), phi = 2.0 * PI * point.y;
    return frame_about(s.normal) * vec3(radius * cos(phi), radius * sin(phi), sqrt(max(1.0 - point.x, 0.0)));
}
