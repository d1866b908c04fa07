// Sample points that depend on the pixel, the number of the sample and the seed alone: Sobol's first
// two dimensions, Owen-scrambled by hashing and shuffled anew for every use (Burley, "Practical
// Hash-based Owen Scrambling", JCGT 9(4), 2020).

const uint SAMPLE_BITS = 16;  // a pixel has fewer samples than 2^16: render.pieces.MAX_SAMPLES

// Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020.
uint hashed(uint v) {
    uint state = v * 747796405u + 2891336453u;
    uint word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

uint combined(uint seed, uint v) { return hashed(seed ^ (v * 0x9e3779b9u + 0x7f4a7c15u)); }

// Each bit flips by the bits above it.
uint scrambled(uint x, uint seed) {
    x = bitfieldReverse(x) + seed;
    x ^= x * 0x6c50b47cu;
    x ^= x * 0xb82f1e52u;
    x ^= x * 0xc7afe638u;
    x ^= x * 0x8d22f6e6u;
    return bitfieldReverse(x);
}

// Sobol's second dimension from the first: the matrix is Pascal's triangle modulo 2, which is made
// of itself three times (Ahmed, "An Implementation Algorithm of 2D Sobol Sequence Fast,
// Elegant, and Compact", EGSR 2024).
uint sobol_second(uint first) {
    first ^= first << 16;
    first ^= (first & 0x00ff00ffu) << 8;
    first ^= (first & 0x0f0f0f0fu) << 4;
    first ^= (first & 0x33333333u) << 2;
    return first ^ (first & 0x55555555u) << 1;
}

float unit_interval(uint bits) { return float(bits >> 8) * (1.0 / 16777216.0); }  // [0, 1)

struct Random {
    uint pixel;  // a hash of the pixel and the seed
    uint number; // of the sample
    uint used;   // how many points were taken
};

Random random_of(uvec2 pixel, uint number, uint seed) {
    return Random(combined(combined(hashed(seed), pixel.x), pixel.y), number, 0u);
}

vec2 next_point(inout Random random) {
    uint seed = combined(random.pixel, random.used++);
    uint index = scrambled(random.number, seed) & ((1u << SAMPLE_BITS) - 1u);
    uint first = bitfieldReverse(index);
    uint x = scrambled(first, combined(seed, 1u)), y = scrambled(sobol_second(first), combined(seed, 2u));
    return vec2(unit_interval(x), unit_interval(y));
}
