/*
 * Depthwise convolution of any window on one channel at a time, in plain C. The channel lies on a padded plane of bytes;
 * the functions which walk over it are made for the width of a window and stand in the network's own file.
 */
#ifndef AOT_PLANE_WINDOWS_H
#define AOT_PLANE_WINDOWS_H

#include "aot_fixed.h"

/* Outputs that are summed up at once; behind a plane there is room for what the last ones of them read. */
enum { AOT_WINDOWS = 4 };

/* A walk over the outputs of one channel; steps are in bytes. */
typedef struct {
    const int8_t *plane;      /* at the first window */
    int32_t kernel_rows;
    const int8_t *weights;    /* of all rows of the window */
    int32_t bias;
    int32_t multiplier;
    int32_t zero;
    int8_t *output;
    int32_t out_column;       /* from output to output */
    int32_t window_step;      /* from row to row of a window */
    int32_t columns;          /* outputs in a row */
    int32_t rows;
    int32_t row_step;         /* from the windows of a row of outputs to those of the next */
    int32_t out_row;          /* from row to row of outputs */
} aot_plane_windows;

/* A row of one channel, `step` bytes from pixel to pixel, to a row of the plane. */
AOT_FUNCTION void aot_plane_gather(int8_t *to, const int8_t *from, int32_t step, int32_t length)
{
    for (; length >= 4; length -= 4) {
        to[0] = from[0];
        to[1] = from[step];
        to[2] = from[2 * step];
        to[3] = from[3 * step];
        to += 4;
        from += length > 4 ? 4 * step : 0;
    }
    for (int32_t i = 0; i < length; ++i) {
        to[i] = from[i * step];
    }
}

#endif
