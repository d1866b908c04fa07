#version 460
#extension GL_GOOGLE_include_directive : require
// Paths of light from the eye, some samples more for each pixel of a rectangle. What a pixel gains
// depends on its place in the frame, the samples' numbers and the seed alone, never on the rectangle.

// What conditions depend on is in storage: of uniforms and push constants lavapipe would compile the
// shader anew, and keep it, for each of their values.
#define VIEW_IN_STORAGE
#include "view.glsl"
#include "sampling.glsl"
#include "pathtrace_random.glsl"
#include "pathtrace_scene.glsl"
#include "pathtrace_surface.glsl"

layout(local_size_x = 8, local_size_y = 8) in;

layout(set = 0, binding = 2, std430) readonly buffer Distribution {  // render.environment.distribution
    uvec2 grid;    // cells across and down
    vec2 steps[];  // for rows, then for the cells of each row: share up to its end, density per solid angle
} around;

layout(set = 3, binding = 0, rgba32f) uniform image2D light;  // sum; w: samples that met light
layout(set = 3, binding = 1, rgba32f) uniform image2D plain;  // sum of what is shown as it is; w: all

layout(set = 0, binding = 3, std430) readonly buffer Work {
    ivec2 origin, size;  // pixels of the frame
    ivec2 frame;         // its size
    uint samples, until; // that the tile is to have a pixel, and after this dispatch
    uint seed, bounces;
    uvec2 unused;
    vec4 background;     // linear RGB; w: 1 for the environment in its place
} work;

layout(constant_id = 3) const bool SKY = true;

const uint ROULETTE_FROM = 3;  // bounces

// --- the environment ----------------------------------------------------------------------------

vec3 sky_light(vec3 way) { return SKY ? textureLod(sky, turned(way), 0.0).rgb * view.sky.x : vec3(0.0); }

vec3 from_sky(vec3 way) {
    return vec3(view.sky.y * way.x + view.sky.z * way.z, way.y, view.sky.y * way.z - view.sky.z * way.x);
}

uint cell_at(uvec2 cell) { return around.grid.y + cell.y * around.grid.x + cell.x; }

float sky_density(vec3 way) {
    vec3 at = turned(way);
    float u = atan(at.z, at.x) / (2.0 * PI) + 0.5, v = acos(clamp(at.y, -1.0, 1.0)) / PI;
    uvec2 cell = min(uvec2(vec2(u, v) * vec2(around.grid)), around.grid - 1u);
    return around.steps[cell_at(cell)].y;
}

// The step of `count` that `x` falls into; x becomes its place within, 0 to 1.
uint step_of(uint first, uint count, inout float x) {
    uint low = 0u, high = count - 1u;
    while (low < high) {
        uint middle = (low + high) / 2u;
        if (x < around.steps[first + middle].x) high = middle;
        else low = middle + 1u;
    }
    float begins = low > 0u ? around.steps[first + low - 1u].x : 0.0;
    x = clamp((x - begins) / (around.steps[first + low].x - begins), 0.0, 1.0);
    return low;
}

// Even over the solid angle of a cell that is picked by its light: first its row, then its column, so
// that points that are spread well stay so (Pharr, Jakob and Humphreys, "Physically Based Rendering",
// 4th edition, 2023, A.5).
vec3 sky_way(vec2 point, out float density) {
    uint row = step_of(0u, around.grid.y, point.y);
    uvec2 cell = uvec2(step_of(cell_at(uvec2(0u, row)), around.grid.x, point.x), row);
    density = around.steps[cell_at(cell)].y;
    float turn = ((float(cell.x) + point.x) / float(around.grid.x) - 0.5) * 2.0 * PI;
    float above = cos(PI * float(cell.y) / float(around.grid.y));
    float below = cos(PI * float(cell.y + 1u) / float(around.grid.y));
    float y = mix(above, below, point.y), level = sqrt(max(1.0 - y * y, 0.0));
    return from_sky(vec3(level * cos(turn), y, level * sin(turn)));
}

float power(float mine, float other) {  // the power heuristic: Veach, 1997
    return mine * mine / max(mine * mine + other * other, 1e-30);
}

// --- lamps --------------------------------------------------------------------------------------

// Illuminance of a light on a surface that faces it, the direction towards it, and how far it is
// (KHR_lights_punctual), as raster.frag has it.
vec3 arriving(Light lamp, vec3 place, out vec3 l, out float distance) {
    distance = FAR;
    if (lamp.place.w == 0.0) {
        l = lamp.place.xyz;
        return lamp.intensity.rgb;
    }
    vec3 way = lamp.place.xyz - place;
    float squared = max(dot(way, way), 1e-8);
    l = way * inversesqrt(squared);
    distance = sqrt(squared) * 0.9999;
    float share = lamp.intensity.w * lamp.intensity.w * squared;
    float window = clamp(1.0 - share * share, 0.0, 1.0);
    float inside = clamp(dot(l, lamp.axis.xyz) * lamp.axis.w + lamp.cone.x, 0.0, 1.0);
    return lamp.intensity.rgb * (window * inside * inside / squared);
}

vec3 lamp_share(Surface s, int lamp, out vec3 l, out float distance) {
    vec3 illuminance = arriving(view.lights[lamp], s.place, l, distance);
    return illuminance * scattered(s, l, true);
}

struct Lit {  // what would come from a way if nothing were in between
    vec3 share, way;
    float distance;
};

// One lamp, picked by what it would do.
Lit by_lamps(Surface s, float pick) {
    Lit chosen = Lit(vec3(0.0), vec3(0.0, 1.0, 0.0), 0.0);
    float total = 0.0;
    for (int i = 0; i < view.counts.x; i++) {  // weighted reservoir sampling with one item
        vec3 l;
        float distance;
        vec3 share = lamp_share(s, i, l, distance);
        float weight = share.r + share.g + share.b;
        if (weight <= 0.0) continue;
        total += weight;
        float taken = weight / total;
        if (pick < taken) {
            pick /= taken;
            chosen = Lit(share / weight, l, distance);
        } else {
            pick = (pick - taken) / (1.0 - taken);
        }
    }
    chosen.share *= total;
    return chosen;
}

Lit by_sky(Surface s, vec2 point) {
    float density;
    vec3 way = sky_way(point, density);
    vec3 share = scattered(s, way, false) * sky_light(way) * (power(density, scatter_density(s, way)) / max(density, 1e-30));
    return Lit(share, way, FAR);
}

// Light that comes to a surface from lamps and the sky at once, sent on to the eye.
vec3 lit(Surface s, inout Random random, uint chance) {
    vec3 total = vec3(0.0);
    for (int source = view.counts.x > 0 ? 0 : 1; source < (SKY ? 2 : 1); source++) {
        vec2 point = next_point(random);
        Lit given = source == 0 ? by_lamps(s, point.x) : by_sky(s, point);
        if (given.share.r + given.share.g + given.share.b <= 0.0) continue;
        Ray ray = Ray(off_surface(s.place, s.face, given.way), given.way, 0.0, given.distance);
        if (traced(ray, true, false, chance + uint(source)).t == FAR) total += given.share;
    }
    return total;
}

// --- the eye ------------------------------------------------------------------------------------

// The points that land on `at`, -1 to 1 across the frame, from the near plane to the far one.
Ray eye_ray(vec2 at) {
    mat4 rows = transpose(view.clip_from_world);
    vec4 across = rows[0] - at.x * rows[3], down = rows[1] - at.y * rows[3], near = rows[2] - rows[3];
    vec3 way = cross(across.xyz, down.xyz);
    if (dot(near.xyz, way) > 0.0) way = -way;
    vec3 length_known = way / max(length(way), 1e-30);
    Ray ray = Ray(view.eye.xyz, length_known, 0.0, FAR);
    float towards_near = dot(near.xyz, way);
    if (rows[3].xyz == vec3(0.0)) {  // parallel: where three planes meet
        vec3 sum = across.w * cross(down.xyz, near.xyz) + down.w * cross(near.xyz, across.xyz) +
                   near.w * cross(across.xyz, down.xyz);
        ray.origin = -sum / dot(across.xyz, cross(down.xyz, near.xyz));
    } else {
        float least = -(dot(near.xyz, ray.origin) + near.w) / dot(near.xyz, ray.way);
        ray.least = max(least, 0.0);
    }
    float falls = dot(rows[2].xyz, ray.way);
    float most = -(dot(rows[2].xyz, ray.origin) + rows[2].w) / falls;
    if (falls < 0.0 && most > 0.0) ray.most = min(most, FAR);
    return ray;
}

// What comes along one path. as_is: of what is shown without exposure or tone mapping; seen: 1 where
// there is light instead.
vec3 followed(uvec2 pixel, uint number, out vec3 as_is, out float seen) {
    Random random = random_of(pixel, number, work.seed);
    vec2 jitter = next_point(random);
    Ray ray = eye_ray(2.0 * (vec2(pixel) + jitter) / vec2(work.frame) - 1.0);
    vec3 total = vec3(0.0), carried = vec3(1.0);
    float density = 0.0;   // of the way the path took last, as scattering goes
    bool straight = true;  // it was never scattered
    as_is = vec3(0.0);
    seen = 1.0;
    for (uint bounce = 0u;; bounce++) {
        uint chance = combined(random.pixel, combined(number, bounce));
        Hit hit = traced(ray, false, bounce == 0u, chance);
        if (hit.t == FAR) {
            if (straight) {
                seen = work.background.w;  // the sky is light, a colour is not
                as_is = carried * work.background.rgb * (1.0 - seen);
                total = carried * sky_light(ray.way) * seen;
            } else {
                total += carried * view.ambient.rgb / PI;
                if (SKY) total += carried * sky_light(ray.way) * power(density, sky_density(ray.way));
            }
            break;
        }
        Triangle triangle = triangle_at(hit.triangle);
        vec4 base = base_color_at(triangle, hit.weights);
        if (materials[triangle.material].kind.y != 0u) {  // unlit
            if (straight) {
                as_is = carried * base.rgb;
                seen = 0.0;
            } else {
                total += carried * base.rgb;
            }
            break;
        }
        Surface s = surface_at(hit, ray.way, base);
        if (HAS_LAYERS && s.through > 0.0 && bounce < work.bounces) {
            if (next_point(random).x < s.through) {  // on behind the pane, as if it had no depth
                carried *= base.rgb;
                ray = Ray(off_surface(s.place, s.face, ray.way), ray.way, 0.0, FAR);
                continue;
            }
            carried /= 1.0 - s.through;
        }
        straight = false;
        total += carried * s.emitted * (1.0 - (HAS_LAYERS ? s.coat_share : 0.0));
        if (bounce == work.bounces) break;

        total += carried * lit(s, random, hashed(chance));
        vec3 way = scattered_way(s, next_point(random));
        density = scatter_density(s, way);
        if (density <= 0.0) break;
        carried *= scattered(s, way, false) / density;
        if (bounce >= ROULETTE_FROM) {
            float survives = clamp(max(carried.r, max(carried.g, carried.b)), 0.0, 0.95);
            if (!(next_point(random).x < survives)) break;
            carried /= survives;
        }
        ray = Ray(off_surface(s.place, s.face, way), way, 0.0, FAR);
    }
    return total;
}

void main() {
    ivec2 here = ivec2(gl_GlobalInvocationID.xy);
    if (any(greaterThanEqual(here, work.size))) return;
    here += work.origin;
    vec4 lit = imageLoad(light, here), shown = imageLoad(plain, here);
    if (shown.w > float(work.samples)) lit = shown = vec4(0.0);  // of a finer tile
    uint done = uint(shown.w);
    for (uint number = done; number < work.until; number++) {
        vec3 as_is;
        float seen;
        vec3 total = followed(uvec2(here), number, as_is, seen);
        // A number that is none would stay for ever.
        if (any(isnan(total)) || any(isinf(total))) total = vec3(0.0);
        lit += vec4(total, seen);
        shown += vec4(as_is, 1.0);
    }
    imageStore(light, here, lit);
    imageStore(plain, here, shown);
}
