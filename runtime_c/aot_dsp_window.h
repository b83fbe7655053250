/*
 * Depthwise convolution 3 x 3 on interleaved channels, for processors with the Arm DSP extension (little-endian). The
 * functions which go along the rows of a channel are made for its size and stand in the network's own file.
 *
 * A filter is five words: nine weights as bytes, which come apart into pairs of halfwords (k0, k1), (k2, k3) and so on, then
 * the bias and the multiplier. The assembly relies on this order.
 */
#ifndef AOT_DSP_WINDOW_H
#define AOT_DSP_WINDOW_H

#include "aot_simd_dsp.h"

enum { AOT_WINDOW_FILTER = 5, AOT_WINDOW_BIAS = 3, AOT_WINDOW_MULTIPLIER = 4 };

/* Weight `k` of nine. */
AOT_INLINE int32_t aot_window_weight(const uint32_t *filter, int32_t k)
{
    const uint32_t pair = (k & 2) != 0 ? aot_odd_bytes(filter[k / 4]) : aot_even_bytes(filter[k / 4]);
    return (k & 1) != 0 ? (int16_t)(pair >> 16) : (int16_t)(pair & 0xFFFFu);
}

#endif
