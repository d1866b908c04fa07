/* A sphere that is looked at through the client's camera, drawn by a program of one's own.
 * cc -O2 -o engine_sample engine_sample.c -lm */
#include <math.h>

#include "framemesh_frame.h"

/* Whether the ray from `eye` along `way` meets the unit sphere; then `hit` is where. */
static int meets(const float eye[3], const float way[3], float hit[3]) {
    float a = 0, b = 0, c = -1;
    for (int i = 0; i < 3; i++) a += way[i] * way[i], b += eye[i] * way[i], c += eye[i] * eye[i];
    float inside = b * b - a * c;
    if (inside < 0 || b > 0) return 0;
    for (int i = 0; i < 3; i++) hit[i] = eye[i] + way[i] * (-b - sqrtf(inside)) / a;
    return 1;
}

static void draw(struct framemesh_frame *f) {
    float tall = tanf(f->fov / 2), wide = tall * f->width / f->height;
    float sy = sinf(f->yaw), cy = cosf(f->yaw), sp = sinf(f->pitch), cp = cosf(f->pitch);
    for (uint32_t row = 0; row < f->tile_height; row++) {
        uint8_t *pixel = framemesh_pixels(f) + (size_t)row * f->stride;
        for (uint32_t column = 0; column < f->tile_width; column++, pixel += 4) {
            float u = wide * (2 * (f->x + column + 0.5f) / f->width - 1);
            float v = tall * (1 - 2 * (f->y + row + 0.5f) / f->height);
            float way[3] = {u * cy - v * sp * sy - cp * sy, v * cp - sp, -u * sy - v * sp * cy - cp * cy};
            float hit[3];
            uint8_t red = 16, green = 24, blue = 40;
            if (meets(f->eye, way, hit)) {
                int dark = (int)(floorf(6 * hit[0]) + floorf(6 * hit[1]) + floorf(6 * hit[2])) & 1;
                float light = 0.3f + 0.7f * fmaxf(0, hit[1]);
                red = 255 * light, green = (dark ? 80 : 200) * light, blue = 60 * light;
            }
            pixel[0] = red, pixel[1] = green, pixel[2] = blue, pixel[3] = 255;
        }
    }
}

int main(void) {
    struct framemesh_frame *frame = framemesh_open();
    if (!frame) return 1;
    framemesh_answer(frame, FRAMEMESH_OK, ""); /* ready */
    while (framemesh_wait(frame)) {
        draw(frame);
        framemesh_answer(frame, FRAMEMESH_OK, "");
    }
    return 0;
}
