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
    float specular_chance;   // of sampling that lobe
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
    Map map = material.maps[NORMAL];
    if (HAS_NORMAL_MAPS && map.at != NO_MAP) {
        vec3 bump = sampled(map, uv_of(triangle, hit.weights, map, UV_WORD), false).xyz * 2.0 - 1.0;
        mat3 frame = tangent_frame(triangle, hit.weights, vertex_normal, s.normal, front, map);
        s.normal = unit_or(frame * (bump * vec3(material.factors.zz, 1.0)), s.normal);
    }
    // Interpolated and mapped normals may look away from the eye: bent back until they just do not.
    float facing = dot(s.normal, s.towards_eye);
    if (facing < 1e-3) s.normal = normalize(s.normal + (1e-3 - facing) * s.towards_eye);
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

    s.f0 = mix(vec3(0.04), base.rgb, metallic);
    s.diffuse = base.rgb * (1.0 - metallic);
    s.alpha = max(roughness * roughness, SMALLEST_ALPHA);
    s.alpha2 = s.alpha * s.alpha;
    vec2 count = vec2(textureSize(reflectances, 0));
    vec2 scale_bias = textureLod(reflectances, (vec2(roughness, s.n_v) * (count - 1.0) + 0.5) / count, 0.0).rg;
    float once = scale_bias.x + scale_bias.y;
    // Turquin, "Practical Multiple Scattering Compensation for Microfacet Models", 2019, eq. 16.
    s.compensation = 1.0 + s.f0 * (1.0 / once - 1.0);
    float dielectric = (0.04 * scale_bias.x + scale_bias.y) * (1.0 + 0.04 * (1.0 / once - 1.0));
    s.below = 1.0 - dielectric;
    vec3 specular = (s.f0 * scale_bias.x + scale_bias.y) * s.compensation;
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

// Light scattered to the eye per irradiance from `l`. from_lamp: as raster.frag shades punctual
// lights; else so that diffuse and specular light add up to no more than came (its `surrounded`).
vec3 scattered(Surface s, vec3 l, bool from_lamp) {
    float n_l = dot(s.normal, l);
    if (n_l <= 0.0) return vec3(0.0);
    vec3 h = normalize(l + s.towards_eye);
    float n_h = clamp(dot(s.normal, h), 0.0, 1.0), v_h = clamp(dot(s.towards_eye, h), 0.0, 1.0);
    float grazing = 1.0 - v_h, grazing2 = grazing * grazing;
    vec3 f = s.f0 + (1.0 - s.f0) * (grazing2 * grazing2 * grazing);
    vec3 under = from_lamp ? 1.0 - f : vec3(s.below);
    return under * s.diffuse / PI + f * s.compensation * (ggx_density(n_h, s.alpha2) * visibility(n_l, s.n_v, s.alpha2));
}

// Density of `scattered_way`, per solid angle.
float scatter_density(Surface s, vec3 l) {
    float n_l = dot(s.normal, l);
    if (n_l <= 0.0) return 0.0;
    float n_h = clamp(dot(s.normal, normalize(l + s.towards_eye)), 0.0, 1.0);
    float lobe = s.n_v + sqrt(s.n_v * s.n_v * (1.0 - s.alpha2) + s.alpha2);
    return mix(n_l / PI, ggx_density(n_h, s.alpha2) / (2.0 * lobe), s.specular_chance);
}

// A direction by either lobe; zero where it would go under the surface. The point's first coordinate
// picks the lobe, and what is left of it is as even as before.
vec3 scattered_way(Surface s, vec2 point) {
    mat3 frame = frame_about(s.normal);
    float phi = 2.0 * PI * point.y;
    if (point.x >= s.specular_chance) {
        point.x = (point.x - s.specular_chance) / (1.0 - s.specular_chance);
        float radius = sqrt(point.x);
        return frame * vec3(radius * cos(phi), radius * sin(phi), sqrt(max(1.0 - point.x, 0.0)));
    }
    point.x /= s.specular_chance;
    // Visible normals: Dupuy and Benyoub, "Sampling Visible GGX Normals with Spherical Caps", 2023.
    vec3 v = s.towards_eye * frame;
    vec3 stretched = normalize(vec3(s.alpha * v.xy, max(v.z, 1e-4)));
    float z = (1.0 - point.x) * (1.0 + stretched.z) - stretched.z;
    float sine = sqrt(clamp(1.0 - z * z, 0.0, 1.0));
    vec3 cap = vec3(sine * cos(phi), sine * sin(phi), z) + stretched;
    vec3 h = frame * normalize(vec3(s.alpha * cap.xy, max(cap.z, 1e-7)));
    vec3 l = reflect(-s.towards_eye, h);
    return dot(s.normal, l) > 0.0 ? normalize(l) : vec3(0.0);
}
