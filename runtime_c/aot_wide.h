/*
 * What layers with 16-bit inputs share: sums of products, and exponentials for softmax.
 *
 * That no sum leaves 32 bits, not even on the way, is proven for each layer from its weights. The Arm DSP extension
 * multiplies two pairs of halfwords at a time.
 */
#ifndef AOT_WIDE_H
#define AOT_WIDE_H

#include "aot_fixed.h"

#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
#define AOT_WIDE_PAIRS 1
#include <arm_acle.h>

/* Two halfwords, or four bytes, as one word; the address needs no alignment beyond that of its elements. */
AOT_INLINE uint32_t aot_wide_load(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

AOT_INLINE int32_t aot_wide_multiply(uint32_t a, uint32_t b, int32_t sum)
{
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
}

/* Four weights of 8 bits as pairs: the first two, the last two. */
AOT_INLINE void aot_wide_split(uint32_t word, uint32_t pairs[2])
{
    uint32_t odd;
    const uint32_t even = (uint32_t)__sxtb16((int8x4_t)word);
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pairs[0]) : "r"(even), "r"(odd));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pairs[1]) : "r"(odd), "r"(even));
}
#else
#define AOT_WIDE_PAIRS 0
#endif

/* sums[r] += row r times the input, for two rows of 16-bit weights. */
AOT_INLINE void aot_row_dot16(const int16_t *input, const int16_t *row0, const int16_t *row1, int32_t length,
                              int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t k = 0;
#if AOT_WIDE_PAIRS
#pragma GCC unroll 4
    for (; k < length - 1; k += 2) {
        const uint32_t x = aot_wide_load(input + k);
        s0 = aot_wide_multiply(aot_wide_load(row0 + k), x, s0);
        s1 = aot_wide_multiply(aot_wide_load(row1 + k), x, s1);
    }
#endif
    for (; k < length; ++k) {
        s0 += row0[k] * input[k];
        s1 += row1[k] * input[k];
    }
    sums[0] = s0;
    sums[1] = s1;
}

/* The same for 8-bit weights. */
AOT_INLINE void aot_row_dot16x8(const int16_t *input, const int8_t *row0, const int8_t *row1, int32_t length,
                                int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t k = 0;
#if AOT_WIDE_PAIRS
    for (; k < length - 3; k += 4) {
        const uint32_t x0 = aot_wide_load(input + k);
        const uint32_t x1 = aot_wide_load(input + k + 2);
        uint32_t w[2];
        aot_wide_split(aot_wide_load(row0 + k), w);
        s0 = aot_wide_multiply(w[1], x1, aot_wide_multiply(w[0], x0, s0));
        aot_wide_split(aot_wide_load(row1 + k), w);
        s1 = aot_wide_multiply(w[1], x1, aot_wide_multiply(w[0], x0, s1));
    }
#endif
    for (; k < length; ++k) {
        s0 += row0[k] * input[k];
        s1 += row1[k] * input[k];
    }
    sums[0] = s0;
    sums[1] = s1;
}

/* sums[r][p] += row r times pixel p, for two rows of 16-bit weights and two pixels. */
AOT_INLINE void aot_pixel_dot16(const int16_t *pixel0, const int16_t *pixel1, const int16_t *row0,
                                const int16_t *row1, int32_t depth, int32_t sums[2][2])
{
    int32_t s00 = sums[0][0];
    int32_t s01 = sums[0][1];
    int32_t s10 = sums[1][0];
    int32_t s11 = sums[1][1];
    int32_t k = 0;
#if AOT_WIDE_PAIRS
#pragma GCC unroll 4
    for (; k < depth - 1; k += 2) {
        const uint32_t x0 = aot_wide_load(pixel0 + k);
        const uint32_t x1 = aot_wide_load(pixel1 + k);
        const uint32_t w0 = aot_wide_load(row0 + k);
        const uint32_t w1 = aot_wide_load(row1 + k);
        s00 = aot_wide_multiply(w0, x0, s00);
        s01 = aot_wide_multiply(w0, x1, s01);
        s10 = aot_wide_multiply(w1, x0, s10);
        s11 = aot_wide_multiply(w1, x1, s11);
    }
#endif
    for (; k < depth; ++k) {
        s00 += row0[k] * pixel0[k];
        s01 += row0[k] * pixel1[k];
        s10 += row1[k] * pixel0[k];
        s11 += row1[k] * pixel1[k];
    }
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[1][0] = s10;
    sums[1][1] = s11;
}

/* The same for 8-bit weights. */
AOT_INLINE void aot_pixel_dot16x8(const int16_t *pixel0, const int16_t *pixel1, const int8_t *row0,
                                  const int8_t *row1, int32_t depth, int32_t sums[2][2])
{
    int32_t s00 = sums[0][0];
    int32_t s01 = sums[0][1];
    int32_t s10 = sums[1][0];
    int32_t s11 = sums[1][1];
    int32_t k = 0;
#if AOT_WIDE_PAIRS
    for (; k < depth - 3; k += 4) {
        const uint32_t x00 = aot_wide_load(pixel0 + k);
        const uint32_t x01 = aot_wide_load(pixel0 + k + 2);
        const uint32_t x10 = aot_wide_load(pixel1 + k);
        const uint32_t x11 = aot_wide_load(pixel1 + k + 2);
        uint32_t w[2];
        aot_wide_split(aot_wide_load(row0 + k), w);
        s00 = aot_wide_multiply(w[1], x01, aot_wide_multiply(w[0], x00, s00));
        s01 = aot_wide_multiply(w[1], x11, aot_wide_multiply(w[0], x10, s01));
        aot_wide_split(aot_wide_load(row1 + k), w);
        s10 = aot_wide_multiply(w[1], x01, aot_wide_multiply(w[0], x00, s10));
        s11 = aot_wide_multiply(w[1], x11, aot_wide_multiply(w[0], x10, s11));
    }
#endif
    for (; k < depth; ++k) {
        s00 += row0[k] * pixel0[k];
        s01 += row0[k] * pixel1[k];
        s10 += row1[k] * pixel0[k];
        s11 += row1[k] * pixel1[k];
    }
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[1][0] = s10;
    sums[1][1] = s11;
}

/* sum + weights times inputs side by side, for small numbers that the compiler knows. */
AOT_INLINE int32_t aot_taps16(const int16_t *input, const int16_t *weights, int32_t length, int32_t sum)
{
    int32_t k = 0;
#if AOT_WIDE_PAIRS
#pragma GCC unroll 8
    for (; k < length - 1; k += 2) {
        sum = aot_wide_multiply(aot_wide_load(weights + k), aot_wide_load(input + k), sum);
    }
#endif
#pragma GCC unroll 8
    for (; k < length; ++k) {
        sum += weights[k] * input[k];
    }
    return sum;
}

/* The same for 8-bit weights. */
AOT_INLINE int32_t aot_taps16x8(const int16_t *input, const int8_t *weights, int32_t length, int32_t sum)
{
#pragma GCC unroll 8
    for (int32_t k = 0; k < length; ++k) {
        sum += weights[k] * input[k];
    }
    return sum;
}

/* exp(-distance) in 16 fractional bits, from tables of 31: for multiples of 256 steps, and for the rest. */
AOT_INLINE uint32_t aot_exponential(const int32_t *powers, const int32_t *exponentials, int32_t distance)
{
    return (uint32_t)(aot_requantize(powers[distance >> 8], exponentials[distance & 255], 0) + 8192) >> 14;
}

#endif
