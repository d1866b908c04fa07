#version 460
// One draw's vertices bent by morph targets and a skin's joints (glTF 2.0, 3.7.2.2 and 3.7.3.3).
// What a skin carries comes out in the world frame, the rest in its mesh frame. One invocation per
// vertex; a vertex is 16 words: position, normal, tangent, two texture coordinates, colour.

layout(local_size_x = 64) in;

layout(set = 0, binding = 0, std430) readonly buffer Rest { uint rest[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Bent { uint bent[]; };
layout(set = 0, binding = 2, std430) readonly buffer Influences { uint influences[]; };
layout(set = 0, binding = 3, std430) readonly buffer Displacements { float displacements[]; };
layout(set = 0, binding = 4, std430) readonly buffer State { float state[]; };

layout(push_constant) uniform Draw {
    uint vertices;
    uint influences_per_vertex;  // 0 without a skin
    uint palette_at;             // into state: 12 numbers a joint, rows of an affine map
    uint targets;
    uint weights_at;             // into state
    uint has;                    // bits: normals, tangents among the displacements; flat normals
} draw;

const uint WORDS = 16, NORMAL = 3, TANGENT = 6;
const uint HAS_NORMALS = 1, HAS_TANGENTS = 2, FLAT = 4;

vec3 at_rest(uint vertex, uint word) {
    uint at = vertex * WORDS + word;
    return uintBitsToFloat(uvec3(rest[at], rest[at + 1], rest[at + 2]));
}

// part: 0 positions, 1 normals, 2 tangents; each target has those parts that any target has.
vec3 displaced(vec3 value, uint vertex, uint part) {
    uint parts = 1 + (draw.has & HAS_NORMALS) + ((draw.has & HAS_TANGENTS) >> 1);
    for (uint target = 0; target < draw.targets; target++) {
        float weight = state[draw.weights_at + target];
        if (weight == 0.0) continue;
        uint at = ((target * parts + part) * draw.vertices + vertex) * 3;
        value += weight * vec3(displacements[at], displacements[at + 1], displacements[at + 2]);
    }
    return value;
}

// The weighted sum of the joints' maps, as rows.
mat3x4 skin_map(uint vertex) {
    mat3x4 rows = mat3x4(0.0);
    for (uint i = 0; i < draw.influences_per_vertex; i++) {
        uint at = (vertex * draw.influences_per_vertex + i) * 2;
        float weight = uintBitsToFloat(influences[at + 1]);
        if (weight == 0.0) continue;
        uint joint = draw.palette_at + influences[at] * 12;
        for (uint row = 0; row < 3; row++)
            for (uint column = 0; column < 4; column++)
                rows[row][column] += weight * state[joint + row * 4 + column];
    }
    return rows;
}

vec3 bent_position(uint vertex, mat3x4 rows) {
    vec3 p = displaced(at_rest(vertex, 0), vertex, 0);
    return draw.influences_per_vertex > 0 ? vec4(p, 1.0) * rows : p;
}

vec3 unit(vec3 v) {
    float squared = dot(v, v);
    return squared > 0.0 ? v * inversesqrt(squared) : vec3(0.0, 0.0, 1.0);
}

void main() {
    uint vertex = gl_GlobalInvocationID.x;
    if (vertex >= draw.vertices) return;
    bool skinned = draw.influences_per_vertex > 0;
    mat3x4 rows = skin_map(vertex);
    vec3 position = bent_position(vertex, rows);

    // The inverse transpose times the determinant; its sign is undone for mirroring maps.
    vec3 x = rows[0].xyz, y = rows[1].xyz, z = rows[2].xyz;
    mat3 cofactor = mat3(cross(y, z), cross(z, x), cross(x, y));
    float side = skinned && dot(x, cofactor[0]) < 0.0 ? -1.0 : 1.0;

    vec3 normal;
    if ((draw.has & FLAT) != 0) {
        uint first = vertex / 3 * 3;
        vec3 corner[3];
        for (uint i = 0; i < 3; i++) corner[i] = bent_position(first + i, skin_map(first + i));
        normal = side * cross(corner[1] - corner[0], corner[2] - corner[0]);
    } else {
        normal = at_rest(vertex, NORMAL);
        if ((draw.has & HAS_NORMALS) != 0) normal = displaced(normal, vertex, 1);
        if (skinned) normal = side * (normal * cofactor);
    }
    normal = unit(normal);

    vec3 tangent = at_rest(vertex, TANGENT);
    if ((draw.has & HAS_TANGENTS) != 0)
        tangent = displaced(tangent, vertex, 1 + (draw.has & HAS_NORMALS));
    if (skinned) tangent = vec4(tangent, 0.0) * rows;

    uint at = vertex * WORDS;
    uvec3 p = floatBitsToUint(position), n = floatBitsToUint(normal), t = floatBitsToUint(tangent);
    for (uint i = 0; i < 3; i++) {
        bent[at + i] = p[i];
        bent[at + NORMAL + i] = n[i];
        bent[at + TANGENT + i] = t[i];
    }
    for (uint word = TANGENT + 3; word < WORDS; word++) bent[at + word] = rest[at + word];
}
