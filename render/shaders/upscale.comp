#version 460
// A small picture brought to full size, sharply: cubic convolution (Keys 1981, a = -1/2: Catmull-Rom)
// over 4x4 pixels. Its overshoot at edges would show as ringing, so the result is kept within the
// nearest 2x2 pixels' range, as AMD's FidelityFX Super Resolution 1 (EASU) does. Colours are filtered
// as they are encoded, as the eye takes them.
//
// One invocation makes ROWS pixels of a column: lines that pixels share are filtered once. Positions
// are whole numbers, the same as in render/upscale.py, so a pixel is the same in every tile.

layout(local_size_x = 32) in;

layout(set = 0, binding = 0) uniform sampler2D encoded;  // a view without sRGB decoding
layout(set = 0, binding = 1, rgba8) writeonly uniform image2D upscaled;

layout(push_constant) uniform Work {
    ivec2 origin;  // of the rectangle to make
    ivec2 size;
    ivec2 small;   // width and height of the small picture
    ivec2 step;    // small pixels from pixel to pixel, in units of 2^-FRACTION
    ivec2 start;   // where the first pixel's centre is among the small ones' centres
} work;

const int FRACTION = 18, ROWS = 16;

// Of the pixels at -1, 0, 1 and 2, for a position t after 0.
vec4 weights(float t) {
    vec4 powers = vec4(1.0, t, t * t, t * t * t);
    return vec4(dot(powers, vec4(0.0, -0.5, 1.0, -0.5)), dot(powers, vec4(1.0, 0.0, -2.5, 1.5)),
                dot(powers, vec4(0.0, 0.5, 2.0, -1.5)), dot(powers, vec4(0.0, 0.0, -0.5, 0.5)));
}

float fraction(int at) { return float(at & ((1 << FRACTION) - 1)) / float(1 << FRACTION); }

// A row of the small picture, filtered across at one column; the range of its two nearest pixels.
struct Line { vec3 value, low, high; };

Line filtered(int row, ivec4 columns, vec4 across) {
    int y = clamp(row, 0, work.small.y - 1);
    vec3 a = texelFetch(encoded, ivec2(columns.x, y), 0).rgb;
    vec3 b = texelFetch(encoded, ivec2(columns.y, y), 0).rgb;
    vec3 c = texelFetch(encoded, ivec2(columns.z, y), 0).rgb;
    vec3 d = texelFetch(encoded, ivec2(columns.w, y), 0).rgb;
    return Line(across.x * a + across.y * b + across.z * c + across.w * d, min(b, c), max(b, c));
}

void main() {
    ivec2 first = ivec2(gl_GlobalInvocationID.xy) * ivec2(1, ROWS);
    if (first.x >= work.size.x || first.y >= work.size.y) return;
    ivec2 here = work.origin + first;
    int last = min(here.y + ROWS, work.origin.y + work.size.y);

    int x = here.x * work.step.x + work.start.x;
    vec4 across = weights(fraction(x));
    ivec4 columns = clamp((x >> FRACTION) + ivec4(-1, 0, 1, 2), 0, work.small.x - 1);

    int row = (here.y * work.step.y + work.start.y) >> FRACTION;
    Line above = filtered(row - 1, columns, across), upper = filtered(row, columns, across);
    Line lower = filtered(row + 1, columns, across), below = filtered(row + 2, columns, across);
    for (; here.y < last; here.y++) {
        int y = here.y * work.step.y + work.start.y;
        if (y >> FRACTION != row) {  // one further at most: the small picture has no more rows
            row++;
            above = upper;
            upper = lower;
            lower = below;
            below = filtered(row + 2, columns, across);
        }
        vec4 down = weights(fraction(y));
        vec3 sum = down.x * above.value + down.y * upper.value + down.z * lower.value
                 + down.w * below.value;
        vec3 low = min(upper.low, lower.low), high = max(upper.high, lower.high);
        imageStore(upscaled, here, vec4(clamp(sum, low, high), 1.0));
    }
}
