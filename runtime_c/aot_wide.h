/*
 * What layers with 16-bit inputs or weights share: sums of products, and exponentials for softmax.
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

/* Of four weights of 8 bits in the order 0 2 1 3, the first two and the last two. */
AOT_INLINE uint32_t aot_wide_first(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

AOT_INLINE uint32_t aot_wide_last(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}
#else
#define AOT_WIDE_PAIRS 0
#endif

/* Inputs of 8 bits in 16 bits. */
AOT_INLINE void aot_wide_copy(int16_t *to, const int8_t *from, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        to[i] = from[i];
    }
}

AOT_INLINE void aot_wide_fill(int16_t *to, int16_t value, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        to[i] = value;
    }
}

/* sums[r] += row r times the input, for two rows of 16-bit weights and an input of 8 bits. */
AOT_INLINE void aot_row_dot8x16(const int8_t *input, const int16_t *row0, const int16_t *row1, int32_t length,
                                int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    for (int32_t k = 0; k < length; ++k) {
        s0 += row0[k] * input[k];
        s1 += row1[k] * input[k];
    }
    sums[0] = s0;
    sums[1] = s1;
}

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

/*
 * The same for 8-bit weights, of which every four come in the order 0 2 1 3: so the Arm DSP extension splits a word into
 * neighbours.
 */
AOT_INLINE void aot_row_dot16x8(const int16_t *input, const int8_t *row0, const int8_t *row1, int32_t length,
                                int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t k = 0;
#pragma GCC unroll 2
    for (; k < length - 3; k += 4) {
#if AOT_WIDE_PAIRS
        const uint32_t x0 = aot_wide_load(input + k);
        const uint32_t x1 = aot_wide_load(input + k + 2);
        uint32_t w = aot_wide_load(row0 + k);
        s0 = aot_wide_multiply(aot_wide_first(w), x0, s0);
        s0 = aot_wide_multiply(aot_wide_last(w), x1, s0);
        w = aot_wide_load(row1 + k);
        s1 = aot_wide_multiply(aot_wide_first(w), x0, s1);
        s1 = aot_wide_multiply(aot_wide_last(w), x1, s1);
#else
        s0 += row0[k] * input[k] + row0[k + 2] * input[k + 1];
        s0 += row0[k + 1] * input[k + 2] + row0[k + 3] * input[k + 3];
        s1 += row1[k] * input[k] + row1[k + 2] * input[k + 1];
        s1 += row1[k + 1] * input[k + 2] + row1[k + 3] * input[k + 3];
#endif
    }
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

/* The same for 8-bit weights, in the order of aot_row_dot16x8. */
AOT_INLINE void aot_pixel_dot16x8(const int16_t *pixel0, const int16_t *pixel1, const int8_t *row0,
                                  const int8_t *row1, int32_t depth, int32_t sums[2][2])
{
#if AOT_WIDE_PAIRS
    int32_t s00 = sums[0][0];
    int32_t s01 = sums[0][1];
    int32_t s10 = sums[1][0];
    int32_t s11 = sums[1][1];
    int32_t k = 0;
#pragma GCC unroll 2
    for (; k < depth - 3; k += 4) {
        const uint32_t w0 = aot_wide_load(row0 + k);
        const uint32_t w1 = aot_wide_load(row1 + k);
        uint32_t x = aot_wide_load(pixel0 + k);
        s00 = aot_wide_multiply(aot_wide_first(w0), x, s00);
        s10 = aot_wide_multiply(aot_wide_first(w1), x, s10);
        x = aot_wide_load(pixel0 + k + 2);
        s00 = aot_wide_multiply(aot_wide_last(w0), x, s00);
        s10 = aot_wide_multiply(aot_wide_last(w1), x, s10);
        x = aot_wide_load(pixel1 + k);
        s01 = aot_wide_multiply(aot_wide_first(w0), x, s01);
        s11 = aot_wide_multiply(aot_wide_first(w1), x, s11);
        x = aot_wide_load(pixel1 + k + 2);
        s01 = aot_wide_multiply(aot_wide_last(w0), x, s01);
        s11 = aot_wide_multiply(aot_wide_last(w1), x, s11);
    }
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
#else
    for (int32_t p = 0; p < 2; ++p) {
        int32_t both[2] = { sums[0][p], sums[1][p] };
        aot_row_dot16x8(p == 0 ? pixel0 : pixel1, row0, row1, depth, both);
        sums[0][p] = both[0];
        sums[1][p] = both[1];
    }
#endif
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
