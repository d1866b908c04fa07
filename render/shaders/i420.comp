#version 460
// One tile of the sRGB-encoded picture to packed I420: BT.709, limited range (ITU-R BT.709-6 with
// 8-bit quantisation), chroma sited as in MPEG-2: level with the left luma column, between rows.
// One invocation makes 8x2 luma and 4+4 chroma samples. Rows are `stride` bytes apart, a multiple
// of 8 (chroma: half of it), so that every 32-bit word has one writer.

layout(local_size_x = 8, local_size_y = 8) in;

layout(set = 0, binding = 0) uniform sampler2D encoded;  // a view without sRGB decoding
layout(set = 0, binding = 1, std430) writeonly buffer Planes { uint words[]; } planes;

layout(push_constant) uniform Tile {
    ivec2 origin;
    ivec2 size;
    int stride;
} tile;

const vec3 Y = 219.0 * vec3(0.2126, 0.7152, 0.0722);
const vec3 CB = 224.0 / 1.8556 * vec3(-0.2126, -0.7152, 0.9278);
const vec3 CR = 224.0 / 1.5748 * vec3(0.7874, -0.7152, -0.0722);

uint quantize(float value) { return uint(clamp(value + 0.5, 0.0, 255.0)); }

void main() {
    ivec2 block = ivec2(gl_GlobalInvocationID.xy) * ivec2(8, 2);
    if (block.x >= tile.size.x || block.y >= tile.size.y) return;
    ivec2 last = tile.origin + tile.size - 1;
    ivec2 at = tile.origin + block;

    uint luma[2][2] = uint[2][2](uint[2](0, 0), uint[2](0, 0));
    uint cb = 0, cr = 0;
    // The column left of the tile is drawn too, unless there is none.
    ivec2 left = ivec2(max(at.x - 1, 0), at.y);
    vec3 before = texelFetch(encoded, left, 0).rgb + texelFetch(encoded, left + ivec2(0, 1), 0).rgb;
    for (int i = 0; i < 4; i++) {
        vec3 here = vec3(0), after = vec3(0);
        for (int row = 0; row < 2; row++) {
            // Past the right edge only the padding is made from what is read.
            vec3 even = texelFetch(encoded, min(at + ivec2(2 * i, row), last), 0).rgb;
            vec3 odd = texelFetch(encoded, min(at + ivec2(2 * i + 1, row), last), 0).rgb;
            uint pair = quantize(16.0 + dot(even, Y)) | quantize(16.0 + dot(odd, Y)) << 8;
            luma[row][i >> 1] |= pair << ((i & 1) * 16);
            here += even;
            after += odd;
        }
        vec3 mean = (before + 2.0 * here + after) / 8.0;
        cb |= quantize(128.0 + dot(mean, CB)) << (8 * i);
        cr |= quantize(128.0 + dot(mean, CR)) << (8 * i);
        before = after;
    }

    for (int row = 0; row < 2; row++) {
        int word = ((block.y + row) * tile.stride + block.x) / 4;
        planes.words[word] = luma[row][0];
        planes.words[word + 1] = luma[row][1];
    }
    int luma_bytes = tile.stride * tile.size.y;
    int chroma = (luma_bytes + (block.y * tile.stride / 2 + block.x) / 2) / 4;
    planes.words[chroma] = cb;
    planes.words[chroma + luma_bytes / 16] = cr;
}
