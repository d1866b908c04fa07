// The scene as render/pathtrace/ lays it out, and what a ray meets in it.

struct Triangle {  // corners in the world, counter-clockwise as seen from its front
    vec3 a, b, c;
    uint vertex_a, vertex_b, vertex_c;
    uint draw, material, flags, number;  // its place in the scene's order
};

struct Map {  // how a material samples one of its textures
    vec4 u, v;        // rows of the transform; u.w: 1 for the second set of coordinates
    uint at;          // first texel; NO_MAP without a texture
    uint page;        // the buffer it is in
    uint size;        // width, height << 16
    uint sampling;    // WRAP_ bits for u, the same << 2 for v, NEAREST
};

struct Material {
    vec4 base_color;
    vec4 emissive;  // w: alpha cutoff
    vec4 factors;   // metallic, roughness, normal scale, unused
    vec4 layers;    // reflectance of what is no metal, coat, its roughness, transmission
    uvec4 kind;     // render.scene.AlphaMode, unlit
    Map maps[4];    // base colour, metallic-roughness, normal, emissive
};

// Texel buffers, four texels each, because drivers fetch these faster than storage. Of a node, by
// child: low corner of its box, and where it is: another node, or the first of its triangles; high
// corner, and how many triangles. Of a triangle: a corner and its vertex, three times; the rest.
layout(set = 1, binding = 0) uniform usamplerBuffer nodes;
layout(set = 1, binding = 1) uniform usamplerBuffer triangles;
layout(set = 1, binding = 2, std430) readonly buffer Vertices { uint vertices[]; };  // 16 words each
layout(set = 1, binding = 3, std430) readonly buffer Placements { vec4 placements[]; };  // 6 a draw
layout(set = 1, binding = 4, std430) readonly buffer Materials { Material materials[]; };
layout(set = 1, binding = 5) uniform samplerBuffer texels0;  // RGBA, as stored
layout(set = 1, binding = 6) uniform samplerBuffer texels1;  // RGBA, as stored
layout(set = 1, binding = 7) uniform samplerBuffer texels2;  // RGBA, as stored
layout(set = 1, binding = 8) uniform samplerBuffer texels3;  // RGBA, as stored

layout(constant_id = 0) const bool HAS_ALPHA = true;   // some material is not opaque
layout(constant_id = 1) const int PAGES = 4;           // of texels in use
layout(constant_id = 2) const bool HAS_NORMAL_MAPS = true;

layout(constant_id = 4) const bool HAS_LAYERS = true;  // some material has a coat or lets light through

const int BASE_COLOR = 0, METALLIC_ROUGHNESS = 1, NORMAL = 2, EMISSIVE = 3;
const uint NO_MAP = 0xffffffffu;
const uint WRAP_REPEAT = 0, WRAP_CLAMP = 1, WRAP_MIRROR = 2, NEAREST = 16;
const uint ALPHA_OPAQUE = 0, ALPHA_MASK = 1, ALPHA_BLEND = 2;
const uint DOUBLE_SIDED = 1, HAS_TANGENTS = 2, CUTS = 4;  // Triangle.flags; CUTS: has alpha
const uint VERTEX_WORDS = 16, STACK = 32;  // no tree is deeper: render.pathtrace.bvh.MAX_DEPTH
const uint LAYERS = 64;  // that let light through, one behind the other, at most
const uint NO_TRIANGLE = 0xffffffffu;
const float FAR = 1e30;

struct Hit {
    float t;        // FAR for none
    uint triangle;
    vec3 weights;   // of its corners
};

// --- textures -----------------------------------------------------------------------------------

vec3 decoded(vec3 encoded) {  // IEC 61966-2-1
    return mix(encoded / 12.92, pow((encoded + 0.055) / 1.055, vec3(2.4)), greaterThan(encoded, vec3(0.04045)));
}

vec4 stored(uint page, int at) {
    if (PAGES > 1 && page == 1) return texelFetch(texels1, at);
    if (PAGES > 2 && page == 2) return texelFetch(texels2, at);
    if (PAGES > 3 && page == 3) return texelFetch(texels3, at);
    return texelFetch(texels0, at);
}

int wrapped(int i, int side, uint wrap) {
    if (wrap == WRAP_CLAMP) return clamp(i, 0, side - 1);
    int period = wrap == WRAP_MIRROR ? 2 * side : side;
    i = i % period;
    if (i < 0) i += period;
    return i < side ? i : period - 1 - i;
}

vec4 texel(Map map, ivec2 at, ivec2 size, bool srgb) {
    at = ivec2(wrapped(at.x, size.x, map.sampling & 3u), wrapped(at.y, size.y, map.sampling >> 2 & 3u));
    vec4 value = stored(map.page, int(map.at) + at.y * size.x + at.x);
    return srgb ? vec4(decoded(value.rgb), value.a) : value;
}

// The finest level: samples of a pixel are what blurs here.
vec4 sampled(Map map, vec2 uv, bool srgb) {
    ivec2 size = ivec2(map.size & 0xffffu, map.size >> 16);
    vec2 place = uv * vec2(size);
    place = mix(vec2(0.0), place, lessThan(abs(place), vec2(1e9)));  // finite, and fits an integer
    if ((map.sampling & NEAREST) != 0) return texel(map, ivec2(floor(place)), size, srgb);
    place -= 0.5;
    ivec2 at = ivec2(floor(place));
    vec2 share = place - floor(place);
    return mix(mix(texel(map, at, size, srgb), texel(map, at + ivec2(1, 0), size, srgb), share.x),
               mix(texel(map, at + ivec2(0, 1), size, srgb), texel(map, at + ivec2(1, 1), size, srgb), share.x),
               share.y);
}

// --- triangles and vertices ----------------------------------------------------------------------

Triangle triangle_at(uint at) {
    int first = int(at) * 4;
    uvec4 a = texelFetch(triangles, first), b = texelFetch(triangles, first + 1);
    uvec4 c = texelFetch(triangles, first + 2), rest = texelFetch(triangles, first + 3);
    return Triangle(uintBitsToFloat(a.xyz), uintBitsToFloat(b.xyz), uintBitsToFloat(c.xyz), a.w, b.w, c.w,
                    rest.x, rest.y, rest.z, rest.w);
}

vec2 vertex_pair(uint vertex, uint word) {
    uint at = vertex * VERTEX_WORDS + word;
    return uintBitsToFloat(uvec2(vertices[at], vertices[at + 1]));
}

vec3 vertex_triple(uint vertex, uint word) {
    return vec3(vertex_pair(vertex, word), uintBitsToFloat(vertices[vertex * VERTEX_WORDS + word + 2]));
}

vec2 uv_of(Triangle triangle, vec3 weights, Map map, uint corner_word) {
    uint word = corner_word + (map.u.w > 0.5 ? 2u : 0u);
    vec2 uv = weights.x * vertex_pair(triangle.vertex_a, word) + weights.y * vertex_pair(triangle.vertex_b, word) +
              weights.z * vertex_pair(triangle.vertex_c, word);
    return vec2(dot(map.u.xyz, vec3(uv, 1.0)), dot(map.v.xyz, vec3(uv, 1.0)));
}

const uint NORMAL_WORD = 3, TANGENT_WORD = 6, UV_WORD = 10, COLOR_WORD = 14;

vec4 vertex_color(uint vertex) {
    uint at = vertex * VERTEX_WORDS + COLOR_WORD;
    return vec4(unpackUnorm2x16(vertices[at]), unpackUnorm2x16(vertices[at + 1]));
}

vec4 base_color_at(Triangle triangle, vec3 weights) {
    Material material = materials[triangle.material];
    vec4 base = material.base_color * (weights.x * vertex_color(triangle.vertex_a) +
                weights.y * vertex_color(triangle.vertex_b) + weights.z * vertex_color(triangle.vertex_c));
    Map map = material.maps[BASE_COLOR];
    if (map.at != NO_MAP) base *= sampled(map, uv_of(triangle, weights, map, UV_WORD), true);
    if (material.kind.x == ALPHA_OPAQUE) base.a = 1.0;
    return base;
}

// --- rays ---------------------------------------------------------------------------------------

struct Ray {
    vec3 origin, way;  // way: unit length
    float least, most; // along it
};

// Watertight (Woop, Benthin and Wald, "Watertight Ray/Triangle Intersection", JCGT 2(1), 2013).
struct Shear { int axis; vec3 scale; };

vec3 axis_last(vec3 v, int axis) { return axis == 0 ? v.yzx : axis == 1 ? v.zxy : v; }

Shear shear_of(vec3 way) {
    vec3 size = abs(way);
    int axis = size.x > size.y ? (size.x > size.z ? 0 : 2) : (size.y > size.z ? 1 : 2);
    vec3 turned = axis_last(way, axis);
    return Shear(axis, vec3(turned.xy, 1.0) / turned.z);
}

// Distance along the ray, or a negative number; weights are those of the corners (given as bits).
float intersected(vec3 origin, Shear shear, uvec4 corner[3], out vec3 weights) {
    precise vec3 a = axis_last(uintBitsToFloat(corner[0].xyz) - origin, shear.axis);
    precise vec3 b = axis_last(uintBitsToFloat(corner[1].xyz) - origin, shear.axis);
    precise vec3 c = axis_last(uintBitsToFloat(corner[2].xyz) - origin, shear.axis);
    precise vec2 pa = a.xy - shear.scale.xy * a.z;
    precise vec2 pb = b.xy - shear.scale.xy * b.z;
    precise vec2 pc = c.xy - shear.scale.xy * c.z;
    precise vec3 edges = vec3(pc.x * pb.y - pc.y * pb.x, pa.x * pc.y - pa.y * pc.x, pb.x * pa.y - pb.y * pa.x);
    precise float total = edges.x + edges.y + edges.z;
    weights = edges / total;
    bool outside = min(edges.x, min(edges.y, edges.z)) < 0.0 && max(edges.x, max(edges.y, edges.z)) > 0.0;
    if (outside || total == 0.0) return -1.0;
    return dot(weights, vec3(a.z, b.z, c.z)) * shear.scale.z;
}

// Where a ray enters a box; FAR if it does not before `most`. A little wide, so that rounding loses
// no triangle (Ize, "Robust BVH Ray Traversal", JCGT 2(2), 2013).
float entered(vec3 low, vec3 high, Ray ray, vec3 inverse, float most) {
    vec3 one = (low - ray.origin) * inverse, other = (high - ray.origin) * inverse;
    vec3 near = min(one, other), far = max(one, other);
    float enter = max(max(near.x, near.y), max(near.z, ray.least)) * 0.99999;
    float leave = min(min(far.x, far.y), min(far.z, most)) * 1.00001;
    return enter <= leave ? enter : FAR;
}

// The nearest triangle a ray meets that comes after (`ray.least`, `number`); with `any`, some opaque
// one if there is any. Of two as near, the one that comes first in the scene: so the tree's shape
// never shows. only_fronts: backs of what is not double sided are not there.
Hit met(Ray ray, uint number, bool any, bool only_fronts) {
    Hit best = Hit(ray.most, 0u, vec3(0.0));
    uint best_number = NO_TRIANGLE;
    Shear shear = shear_of(ray.way);
    vec3 inverse = 1.0 / mix(ray.way, mix(vec3(-1e-20), vec3(1e-20), greaterThanEqual(ray.way, vec3(0.0))),
                             lessThan(abs(ray.way), vec3(1e-20)));
    uint stack[STACK];
    uint depth = 0u, node = 0u;
    bool more = true;
    while (more) {
        int first = int(node) * 4;
        uvec4 low0 = texelFetch(nodes, first), high0 = texelFetch(nodes, first + 1);
        uvec4 low1 = texelFetch(nodes, first + 2), high1 = texelFetch(nodes, first + 3);
        float t0 = entered(uintBitsToFloat(low0.xyz), uintBitsToFloat(high0.xyz), ray, inverse, best.t);
        float t1 = entered(uintBitsToFloat(low1.xyz), uintBitsToFloat(high1.xyz), ray, inverse, best.t);
        bool into0 = t0 < FAR, into1 = t1 < FAR;
        // Leaves at once: what they hold shortens the ray.
        uint left = into0 ? high0.w : 0u, all = left + (into1 ? high1.w : 0u);
        for (uint i = 0u; i < all; i++) {
            uint at = i < left ? low0.w + i : low1.w + (i - left);
            uvec4 corner[3];
            for (int k = 0; k < 3; k++) corner[k] = texelFetch(triangles, int(at) * 4 + k);
            uvec4 rest = texelFetch(triangles, int(at) * 4 + 3);
            vec3 weights;
            float t = intersected(ray.origin, shear, corner, weights);
            bool taken = t > ray.least || (t == ray.least && number != NO_TRIANGLE && rest.w > number);
            taken = taken && (t < best.t || (t == best.t && rest.w < best_number));
            if (only_fronts && (rest.z & DOUBLE_SIDED) == 0u) {
                vec3 a = uintBitsToFloat(corner[0].xyz);
                vec3 face = cross(uintBitsToFloat(corner[1].xyz) - a, uintBitsToFloat(corner[2].xyz) - a);
                taken = taken && dot(face, ray.way) < 0.0;
            }
            if (taken) {
                best = Hit(t, at, weights);
                best_number = rest.w;
                if (any && (rest.z & CUTS) == 0u) return best;
            }
        }
        into0 = into0 && high0.w == 0u;
        into1 = into1 && high1.w == 0u;
        if (into0 && into1) {
            bool swap = t1 < t0;
            stack[depth++] = swap ? low0.w : low1.w;
            node = swap ? low1.w : low0.w;
        } else if (into0 || into1) {
            node = into0 ? low0.w : low1.w;
        } else {
            more = depth > 0u;
            if (more) node = stack[--depth];
        }
    }
    if (best_number == NO_TRIANGLE) best.t = FAR;
    return best;
}

// to_light: what a pane transmits goes straight on. (What the eye sees through it, and what shines
// through it, is the path's own to decide: pathtrace.comp.)
bool lets_through(Hit hit, Triangle triangle, bool to_light, uint chance) {
    if ((triangle.flags & CUTS) == 0u) return false;
    Material material = materials[triangle.material];
    vec4 base = base_color_at(triangle, hit.weights);
    float alpha = material.kind.x == ALPHA_MASK ? step(material.emissive.w, base.a) : base.a;
    if (HAS_LAYERS && to_light) {
        float enters = (1.0 - material.layers.x) * (1.0 - material.factors.x) * material.layers.w;
        alpha *= 1.0 - enters * dot(base.rgb, vec3(1.0 / 3.0));
    }
    return unit_interval(combined(chance, triangle.number)) >= alpha;
}

// What a ray meets behind all that lets it through. chance: for what blends.
Hit traced(Ray ray, bool any, bool only_fronts, uint chance) {
    Hit hit;
    uint after = NO_TRIANGLE;
    for (uint layer = 0u; layer < (HAS_ALPHA ? LAYERS : 1u); layer++) {
        hit = met(ray, after, any, only_fronts);
        if (!HAS_ALPHA || hit.t == FAR) break;
        Triangle triangle = triangle_at(hit.triangle);
        if (!lets_through(hit, triangle, any, chance)) break;
        ray.least = hit.t;
        after = triangle.number;
    }
    return hit;
}

// From a surface to just off it, on the side that `way` leaves by (Waechter and Binder, "A Fast and
// Robust Method for Avoiding Self-Intersection", Ray Tracing Gems, 2019, chapter 6).
vec3 off_surface(vec3 p, vec3 normal, vec3 way) {
    vec3 n = dot(normal, way) < 0.0 ? -normal : normal;
    ivec3 steps = ivec3(256.0 * n);
    vec3 moved = intBitsToFloat(floatBitsToInt(p) + mix(steps, -steps, lessThan(p, vec3(0.0))));
    return mix(moved, p + n / 65536.0, lessThan(abs(p), vec3(1.0 / 32.0)));
}
