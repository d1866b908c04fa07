#version 460
// One tile's depth at reduced resolution: of each block the nearest pixel's, as float16 (depth is
// reversed: nearer is more). What was drawn may be a smaller frame: then it is the nearest of those
// of its pixels that the block touches. One invocation makes two neighbours, so that every 32-bit
// word has one writer; rows are `stride` values apart, an even number.

layout(local_size_x = 8, local_size_y = 8) in;

layout(set = 0, binding = 0) uniform sampler2D depth;
layout(set = 0, binding = 1, std430) writeonly buffer Blocks { uint words[]; } blocks;

layout(push_constant) uniform Tile {
    ivec2 origin;
    ivec2 size;
    ivec2 frame;  // width and height as shown
    ivec2 drawn;  // and as drawn
    int block;   // pixels along its sides
    int stride;
} tile;

float nearest(ivec2 corner) {
    ivec2 end = min(corner + tile.block, tile.origin + tile.size);
    corner = corner * tile.drawn / tile.frame;
    end = (end * tile.drawn + tile.frame - 1) / tile.frame;
    float most = 0.0;
    for (int y = corner.y; y < end.y; y++)
        for (int x = corner.x; x < end.x; x++) most = max(most, texelFetch(depth, ivec2(x, y), 0).r);
    return most;
}

void main() {
    ivec2 at = ivec2(gl_GlobalInvocationID.xy) * ivec2(2, 1);
    if (at.x * tile.block >= tile.size.x || at.y * tile.block >= tile.size.y) return;
    ivec2 corner = tile.origin + at * tile.block;
    vec2 pair = vec2(nearest(corner), nearest(corner + ivec2(tile.block, 0)));
    blocks.words[(at.y * tile.stride + at.x) / 2] = packHalf2x16(pair);
}
