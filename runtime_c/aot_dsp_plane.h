/*
 * Depthwise convolution 3 x 3 on one channel at a time, for processors with the Arm DSP extension (little-endian).
 *
 * The channel lies on a padded plane of halfwords; a word holds two neighbouring columns. The functions which slide over
 * such a plane are made for its size and stand in the network's own file.
 */
#ifndef AOT_DSP_PLANE_H
#define AOT_DSP_PLANE_H

#include "aot_simd_dsp.h"

/* What slides over a plane; the assembly relies on this order. */
typedef struct {
    uint32_t weights[6];  /* each row's first and second, then second and third weight, as pairs of halfwords */
    int32_t bias[2];      /* the same twice */
    int32_t multiplier;
    int32_t zero;         /* zero point of the output */
} aot_plane_filter;

/* Two numbers as halfwords of a word, the first one lower. */
AOT_INLINE uint32_t aot_pair(int32_t first, int32_t second)
{
    return aot_low_pair((uint32_t)first, (uint32_t)second);
}

/* A filter from its nine weights, row by row. */
AOT_INLINE void aot_plane_load(aot_plane_filter *filter, const int8_t *weights, int32_t bias, int32_t multiplier)
{
    for (int32_t row = 0; row < 3; ++row) {
        filter->weights[2 * row] = aot_pair(weights[3 * row], weights[3 * row + 1]);
        filter->weights[2 * row + 1] = aot_pair(weights[3 * row + 1], weights[3 * row + 2]);
    }
    filter->bias[0] = bias;
    filter->bias[1] = bias;
    filter->multiplier = multiplier;
}

/* A row of one channel, `step` bytes from pixel to pixel, to a row of the plane. */
AOT_INLINE void aot_plane_row(int16_t *to, const int8_t *from, int32_t step, int32_t length)
{
    int32_t left = length;
    for (; left >= 8; left -= 8) {
        to[0] = from[0];
        to[1] = from[step];
        to[2] = from[2 * step];
        to[3] = from[3 * step];
        to[4] = from[4 * step];
        to[5] = from[5 * step];
        to[6] = from[6 * step];
        to[7] = from[7 * step];
        to += 8;
        from += 8 * step;
    }
    for (; left > 0; --left) {
        *to++ = *from;
        from += left > 1 ? step : 0;
    }
}

/* All of the plane to one value. */
AOT_INLINE void aot_plane_fill(int16_t *plane, int8_t value, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        plane[i] = value;
    }
}

/* One output in plain C: the window's upper left corner, halfwords from row to row, the filter. */
AOT_INLINE int32_t aot_plane_sum(const int16_t *corner, int32_t pitch, const aot_plane_filter *filter)
{
    int32_t sum = filter->bias[0];
    for (int32_t row = 0; row < 3; ++row) {
        sum = aot_multiply_pairs(aot_pair(corner[0], corner[1]), filter->weights[2 * row], sum);
        sum += corner[2] * (int16_t)(filter->weights[2 * row + 1] >> 16);
        corner += pitch;
    }
    return sum;
}

#endif
