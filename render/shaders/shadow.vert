#version 460
// Mesh space to the clip space of a sun's parallel view.

layout(location = 0) in vec3 position;
layout(location = 3) in vec4 uv;       // set 0 in xy, set 1 in zw
layout(location = 4) in vec4 color;    // linear

layout(location = 5) in vec4 world_from_mesh[3];  // rows, per instance

layout(push_constant) uniform View { mat4 clip_from_world; } view;

layout(location = 0) out vec4 texture_uv;
layout(location = 1) out float vertex_alpha;

void main() {
    vec4 p = vec4(position, 1.0);
    vec3 world = vec3(dot(world_from_mesh[0], p), dot(world_from_mesh[1], p), dot(world_from_mesh[2], p));
    texture_uv = uv;
    vertex_alpha = color.a;
    gl_Position = view.clip_from_world * vec4(world, 1.0);
}
