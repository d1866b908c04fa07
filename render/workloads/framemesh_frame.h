/* Frames for framemesh from an engine of your own: one page of shared memory, pixels behind it, two
 * doorbells. Version 1, for C99 and C++ on Linux; numbers are the machine's own (little endian).
 *
 * The worker starts the engine as a child of a device process, confined as that is: no network, no
 * files but what [device] programs names. It ends the engine with itself whenever a frame overruns.
 * FRAMEMESH_FDS in the environment names three descriptors: memory, request bell, answer bell.
 *
 *     struct framemesh_frame *frame = framemesh_open();
 *     ...load; then say that the first request may come...
 *     framemesh_answer(frame, FRAMEMESH_OK, "");
 *     while (framemesh_wait(frame)) {
 *         ...write frame->tile_height rows of frame->tile_width pixels to framemesh_pixels(frame)...
 *         framemesh_answer(frame, FRAMEMESH_OK, "");
 *     }
 *
 * A later version only adds fields where `reserved` is now; FRAMEMESH_VERSION grows if it must not.
 */
#ifndef FRAMEMESH_FRAME_H
#define FRAMEMESH_FRAME_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAMEMESH_MAGIC 0x48534D46u /* "FMSH" */
#define FRAMEMESH_VERSION 1u
#define FRAMEMESH_END 0xFFFFFFFFu

enum { FRAMEMESH_OK = 0, FRAMEMESH_FAILED = 1 };
/* RGBA8: 4 bytes a pixel, encoded for display, alpha ignored. I420: Y, then U, then V (BT.709,
 * limited range), rows `stride` and `stride` / 2 bytes apart. */
enum { FRAMEMESH_RGBA8 = 1, FRAMEMESH_I420 = 2 };

struct framemesh_frame {
    uint32_t magic, version;
    uint32_t header_bytes;        /* pixels begin there */
    uint32_t pixel_bytes;         /* room for them */
    uint32_t asked;               /* number of the request below; FRAMEMESH_END: end now */
    uint32_t answered;            /* yours: number of the last request that is done */
    uint32_t status;              /* yours: FRAMEMESH_OK, or why not in `message` */
    uint32_t format;
    uint32_t frame;               /* counts up; equal for the tiles of one frame */
    uint32_t session;             /* equal for the frames of one client */
    uint32_t width, height;       /* of the whole picture, pixels */
    uint32_t x, y;                /* the tile wanted: its top left corner, from the picture's */
    uint32_t tile_width, tile_height;
    uint32_t stride;              /* bytes from row to row of the tile */
    uint32_t options_bytes;       /* length of `options` */
    double time_s;                /* since the session's first frame */
    float clip_from_world[16];    /* column by column; depth 1 near to 0 far; y downwards */
    float eye[3], fov;            /* metres, y upwards; vertical, radians */
    float yaw, pitch, distance, reserved0;
    float target[3], reserved1;
    char options[1024];           /* the client's own words, unchecked, with a 0 behind them */
    char message[256];            /* yours: UTF-8, for people */
};

static int framemesh_fds[3];

/* The memory, or NULL where framemesh did not start this program. */
static inline struct framemesh_frame *framemesh_open(void) {
    const char *fds = getenv("FRAMEMESH_FDS");
    if (!fds || sscanf(fds, "%d,%d,%d", framemesh_fds, framemesh_fds + 1, framemesh_fds + 2) != 3)
        return NULL;
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, framemesh_fds[0], 0);
    if (at == MAP_FAILED) return NULL;
    const struct framemesh_frame *header = (const struct framemesh_frame *)at;
    if (header->magic != FRAMEMESH_MAGIC || header->version != FRAMEMESH_VERSION) return NULL;
    size_t bytes = (size_t)header->header_bytes + header->pixel_bytes;
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, framemesh_fds[0], 0);
    return at == MAP_FAILED ? NULL : (struct framemesh_frame *)at;
}

static inline uint8_t *framemesh_pixels(struct framemesh_frame *frame) {
    return (uint8_t *)frame + frame->header_bytes;
}

/* Wait for the next request; 0 when it is time to end. */
static inline int framemesh_wait(struct framemesh_frame *frame) {
    uint64_t rings;
    return read(framemesh_fds[1], &rings, 8) == 8 && frame->asked != FRAMEMESH_END;
}

/* The request is done; before the first one: the engine is ready. */
static inline void framemesh_answer(struct framemesh_frame *frame, uint32_t status,
                                    const char *message) {
    uint64_t one = 1;
    strncpy(frame->message, message, sizeof frame->message - 1);
    frame->status = status;
    frame->answered = frame->asked;
    if (write(framemesh_fds[2], &one, 8) != 8) exit(1);
}

#endif
