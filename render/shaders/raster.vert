#version 460
// Mesh space to clip space; everything the fragment stage needs goes along in world space.

layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 tangent;  // w: sign of the bitangent
layout(location = 3) in vec4 uv;       // set 0 in xy, set 1 in zw
layout(location = 4) in vec4 color;    // linear

layout(set = 0, binding = 0) uniform View {
    mat4 clip_from_world;
} view;

// Per instance: the draw's placement.
layout(location = 5) in vec4 world_from_mesh[3];    // rows
layout(location = 8) in vec4 normal_from_mesh[3];   // rows of the inverse transpose

layout(location = 0) out vec3 world_position;
layout(location = 1) out vec3 world_normal;
layout(location = 2) out vec4 world_tangent;
layout(location = 3) out vec4 texture_uv;
layout(location = 4) out vec4 vertex_color;

void main() {
    vec4 p = vec4(position, 1.0);
    world_position = vec3(dot(world_from_mesh[0], p), dot(world_from_mesh[1], p), dot(world_from_mesh[2], p));
    world_normal = vec3(dot(normal_from_mesh[0].xyz, normal), dot(normal_from_mesh[1].xyz, normal),
                        dot(normal_from_mesh[2].xyz, normal));
    world_tangent = vec4(dot(world_from_mesh[0].xyz, tangent.xyz), dot(world_from_mesh[1].xyz, tangent.xyz),
                         dot(world_from_mesh[2].xyz, tangent.xyz), tangent.w);
    texture_uv = uv;
    vertex_color = color;
    gl_Position = view.clip_from_world * vec4(world_position, 1.0);
}
