#version 460
// One triangle over the whole picture, and where it is looked at through each corner.

layout(set = 0, binding = 0) uniform View {
    mat4 clip_from_world;
    vec4 eye;  // w 0: the direction towards it
} view;

layout(location = 0) out vec3 way;  // world frame, any length

void main() {
    vec2 corner = vec2(gl_VertexIndex == 1 ? 3.0 : -1.0, gl_VertexIndex == 2 ? 3.0 : -1.0);
    mat4 rows = transpose(view.clip_from_world);
    // What lands on the corner is in both planes through it and the eye.
    way = cross(rows[0].xyz - corner.x * rows[3].xyz, rows[1].xyz - corner.y * rows[3].xyz);
    bool behind = view.eye.w == 0.0 ? dot(way, view.eye.xyz) > 0.0 : dot(way, rows[3].xyz) < 0.0;
    if (behind) way = -way;
    gl_Position = vec4(corner, 0.0, 1.0);
}
