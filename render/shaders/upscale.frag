#version 460
// A small picture brought to full size, sharply: cubic convolution (Keys 1981, a = -1/2: Catmull-Rom)
// over 4x4 pixels. Its overshoot at edges would show as ringing, so the result is kept within the
// nearest 2x2 pixels' range, as AMD's FidelityFX Super Resolution 1 (EASU) does. Colours are filtered
// as they are encoded, as the eye takes them.
//
// Positions are whole numbers, the same as in render/upscale.py: a pixel is the same in every tile.

layout(set = 0, binding = 0) uniform sampler2D encoded;  // a view without sRGB decoding

layout(push_constant) uniform Steps {
    ivec2 step;   // small pixels from pixel to pixel, in units of 2^-FRACTION
    ivec2 start;  // where the first pixel's centre is among the small ones' centres
    ivec2 small;  // width and height
} steps;

const int FRACTION = 18;

layout(location = 0) out vec4 color;

// Of the pixels at -1, 0, 1 and 2, for a position t after 0.
vec4 weights(float t) {
    vec4 powers = vec4(1.0, t, t * t, t * t * t);
    return vec4(dot(powers, vec4(0.0, -0.5, 1.0, -0.5)), dot(powers, vec4(1.0, 0.0, -2.5, 1.5)),
                dot(powers, vec4(0.0, 0.5, 2.0, -1.5)), dot(powers, vec4(0.0, 0.0, -0.5, 0.5)));
}

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) * steps.step + steps.start;
    ivec2 base = at >> FRACTION;
    vec2 t = vec2(at & ((1 << FRACTION) - 1)) / float(1 << FRACTION);
    vec4 across = weights(t.x), down = weights(t.y);
    ivec2 last = steps.small - 1;

    vec3 sum = vec3(0.0), low = vec3(1.0), high = vec3(0.0);
    for (int row = 0; row < 4; row++) {
        vec3 line = vec3(0.0);
        int y = clamp(base.y + row - 1, 0, last.y);
        for (int column = 0; column < 4; column++) {
            int x = clamp(base.x + column - 1, 0, last.x);
            vec3 texel = texelFetch(encoded, ivec2(x, y), 0).rgb;
            line += across[column] * texel;
            if (row >= 1 && row <= 2 && column >= 1 && column <= 2) {
                low = min(low, texel);
                high = max(high, texel);
            }
        }
        sum += down[row] * line;
    }
    color = vec4(clamp(sum, low, high), 1.0);
}
