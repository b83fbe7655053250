/*
 * Depthwise convolution 3 x 3 on one channel at a time, for processors with the Arm DSP extension (little-endian).
 *
 * The channel lies on a padded plane of halfwords; a word holds two neighbouring columns. The functions which slide over
 * such a plane are made for its size and stand in the network's own file.
 */
#ifndef AOT_DSP_PLANE_H
#define AOT_DSP_PLANE_H

#include "aot_simd_dsp.h"

/*
 * What slides over a plane is five words: each row's weights w0 w1 w1 w2 as bytes, which come apart into the pairs (w0, w1)
 * and (w1, w2), then the bias and the multiplier. The assembly relies on this order.
 */
enum { AOT_PLANE_FILTER = 5, AOT_PLANE_BIAS = 3, AOT_PLANE_MULTIPLIER = 4 };

/* Two numbers as halfwords of a word, the first one lower. */
AOT_INLINE uint32_t aot_pair(int32_t first, int32_t second)
{
    return aot_low_pair((uint32_t)first, (uint32_t)second);
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
        from += left > 8 || (length & 7) != 0 ? 8 * step : 0;
    }
    if ((length & 4) != 0) {
        to[0] = from[0];
        to[1] = from[step];
        to[2] = from[2 * step];
        to[3] = from[3 * step];
        to += 4;
        from += (length & 3) != 0 ? 4 * step : 0;
    }
    if ((length & 2) != 0) {
        to[0] = from[0];
        to[1] = from[step];
        to += 2;
        from += (length & 1) != 0 ? 2 * step : 0;
    }
    if ((length & 1) != 0) {
        *to = *from;
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
AOT_INLINE int32_t aot_plane_sum(const int16_t *corner, int32_t pitch, const uint32_t *filter)
{
    int32_t sum = (int32_t)filter[AOT_PLANE_BIAS];
    for (int32_t row = 0; row < 3; ++row) {
        const uint32_t first = aot_even_bytes(filter[row]);
        const uint32_t last = aot_odd_bytes(filter[row]);
        sum = aot_multiply_pairs(aot_pair(corner[0], corner[1]), first, sum);
        sum = aot_multiply_pairs(aot_pair(0, corner[2]), last, sum);
        corner += pitch;
    }
    return sum;
}

#endif
