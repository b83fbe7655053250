/*
 * Depthwise convolution of any window on one channel at a time, for processors with the Arm M-profile vector extension
 * (little-endian). The channel lies on a padded plane of bytes, on which a row of a window is read as one vector.
 */
#ifndef AOT_MVE_ANY_WINDOW_H
#define AOT_MVE_ANY_WINDOW_H

#include "aot_mve_matrix.h"

/* A walk over the outputs of one channel. Steps are in bytes; the assembly relies on this order. */
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
} aot_mve_windows;

/* A row of one channel, `step` bytes from pixel to pixel, to a row of the plane. */
AOT_INLINE void aot_mve_gather(int8_t *to, const int8_t *from, int32_t step, int32_t length)
{
#if AOT_ARM_MVE
    __asm__ volatile(
        "movs r12, #0\n vidup.u16 q0, r12, #1\n vmul.i16 q0, q0, %3\n"
        "wlstp.16 lr, %2, 2f\n"
        "1: vldrb.u16 q1, [%1, q0]\n vstrb.16 q1, [%0], #8\n add %1, %1, %3, lsl #3\n letp lr, 1b\n"
        "2:\n" : "+&l"(to), "+&r"(from) : "r"(length), "r"(step) : "r12", "lr", "q0", "q1", "cc", "memory");
#else
    for (int32_t i = 0; i < length; ++i) {
        to[i] = from[i * step];
    }
#endif
}

#endif
