/*
 * Depthwise convolution of any window on one channel at a time, for processors with the Arm DSP extension
 * (little-endian).
 *
 * The channel lies on a padded plane of halfwords; a word holds two neighbouring columns. Weights are paired like them:
 * once for windows that start at an even column, and once, moved on by one, for those that start at an odd column.
 */
#ifndef AOT_DSP_ANY_WINDOW_H
#define AOT_DSP_ANY_WINDOW_H

#include "aot_dsp_plane.h"

/* A walk over the outputs of one channel. Steps are in bytes; the assembly relies on this order. */
typedef struct {
    const int16_t *plane;     /* at the first window */
    int32_t kernel_rows;
    const uint32_t *weights;  /* of all rows of the window, in pairs */
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
} aot_dsp_windows;

/*
 * A filter's weights in pairs, row by row: (w0 w1) (w2 w3) ... and, if windows start at odd columns too, beside each of
 * them the pair moved on by one: (0 w0) (w1 w2) ...; what is not there is zero.
 */
AOT_FUNCTION void aot_window_weights(uint32_t *to, const int8_t *weights, int32_t rows, int32_t length, int32_t both)
{
    for (; rows > 0; --rows) {
        int32_t left = 0;
        for (int32_t k = 0; k < length + both; k += 2) {
            const int32_t first = k < length ? weights[k] : 0;
            const int32_t second = k + 1 < length ? weights[k + 1] : 0;
            *to++ = aot_pair(first, second);
            if (both != 0) {
                *to++ = aot_pair(left, first);
            }
            left = second;
        }
        weights += length;
    }
}

#endif
