/*
 * Products with weights of 4 bits, two in a byte.
 *
 * A weight w in [-7, 7] is stored as w + 8, which has no sign, so that a mask is all it takes to read one. Sums of
 * products are too large by 8 times the sum of the inputs then, which is subtracted beforehand; all this is modulo 2^32,
 * and that the true sum fits is proven for each layer. Eight weights are four bytes: the first has weights 0 and 2, the
 * second 4 and 6, the third 1 and 3, the fourth 5 and 7. In a little-endian word, each pair of neighbours then lies at
 * one place of both halfwords.
 */
#ifndef AOT_NIBBLE_H
#define AOT_NIBBLE_H

#include "aot_fixed.h"

#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
#define AOT_NIBBLE_PAIRS 1
#include <arm_acle.h>

/* Two halfwords, or four bytes, as one word; the address needs no alignment beyond that of its elements. */
AOT_INLINE uint32_t aot_nibble_load(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

AOT_INLINE int32_t aot_nibble_multiply(uint32_t a, uint32_t b, int32_t sum)
{
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
}

/* Weights 2 i and 2 i + 1 of eight. */
AOT_INLINE uint32_t aot_nibble_pair(uint32_t word, int32_t i)
{
    return (word >> (4 * i)) & 0x000F000Fu;
}
#else
#define AOT_NIBBLE_PAIRS 0
#endif

/* Inputs as 16 bits, one after the other. */
AOT_INLINE void aot_nibble_widen(int16_t *to, const int8_t *from, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        to[i] = from[i];
    }
}

AOT_INLINE void aot_nibble_fill(int16_t *to, int16_t value, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        to[i] = value;
    }
}

/* What sums with these inputs, a multiple of eight of them, are too large by. */
AOT_INLINE uint32_t aot_nibble_excess(const int16_t *inputs, int32_t length)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < length; ++i) {
        const int32_t x = inputs[i];
        sum += (uint32_t)x;
    }
    return 8u * sum;
}

#if !AOT_NIBBLE_PAIRS
/* sums[p] += weights times pixel p, for two pixels; two bytes of weights, those beside them in a word, at a time. */
AOT_INLINE void aot_nibble_row(const uint8_t *weights, const int16_t *pixel0, const int16_t *pixel1, int32_t blocks,
                               uint32_t sums[2])
{
    uint32_t s0 = sums[0];
    uint32_t s1 = sums[1];
    for (int32_t i = 0; i < 2 * blocks; ++i) {
        const int32_t even = weights[0];
        const int32_t odd = weights[2];
        s0 += (uint32_t)((even & 15) * pixel0[0]);
        s1 += (uint32_t)((even & 15) * pixel1[0]);
        s0 += (uint32_t)((odd & 15) * pixel0[1]);
        s1 += (uint32_t)((odd & 15) * pixel1[1]);
        s0 += (uint32_t)((even >> 4) * pixel0[2]);
        s1 += (uint32_t)((even >> 4) * pixel1[2]);
        s0 += (uint32_t)((odd >> 4) * pixel0[3]);
        s1 += (uint32_t)((odd >> 4) * pixel1[3]);
        weights += i % 2 == 0 ? 1 : 3;
        pixel0 += 4;
        pixel1 += 4;
    }
    sums[0] = s0;
    sums[1] = s1;
}
#endif

/* sums[r][p] += row r times pixel p, for two rows of weights and two pixels of so many blocks of eight. */
AOT_INLINE void aot_nibble_dot(const int16_t *pixel0, const int16_t *pixel1, const uint8_t *row0,
                               const uint8_t *row1, int32_t blocks, uint32_t sums[2][2])
{
#if AOT_NIBBLE_PAIRS
    int32_t s00 = (int32_t)sums[0][0];
    int32_t s01 = (int32_t)sums[0][1];
    int32_t s10 = (int32_t)sums[1][0];
    int32_t s11 = (int32_t)sums[1][1];
    const int16_t *const end = pixel0 + 8 * blocks;
    while (pixel0 != end) {
        const uint32_t w0 = aot_nibble_load(row0);
        const uint32_t w1 = aot_nibble_load(row1);
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            const uint32_t x0 = aot_nibble_load(pixel0 + 2 * i);
            const uint32_t x1 = aot_nibble_load(pixel1 + 2 * i);
            const uint32_t v0 = aot_nibble_pair(w0, i);
            const uint32_t v1 = aot_nibble_pair(w1, i);
            s00 = aot_nibble_multiply(v0, x0, s00);
            s01 = aot_nibble_multiply(v0, x1, s01);
            s10 = aot_nibble_multiply(v1, x0, s10);
            s11 = aot_nibble_multiply(v1, x1, s11);
        }
        row0 += 4;
        row1 += 4;
        pixel0 += 8;
        pixel1 += 8;
    }
    sums[0][0] = (uint32_t)s00;
    sums[0][1] = (uint32_t)s01;
    sums[1][0] = (uint32_t)s10;
    sums[1][1] = (uint32_t)s11;
#else
    aot_nibble_row(row0, pixel0, pixel1, blocks, sums[0]);
    aot_nibble_row(row1, pixel0, pixel1, blocks, sums[1]);
#endif
}

/* sums[r] += row r times the inputs, for two rows of weights. */
AOT_INLINE void aot_nibble_rows(const int16_t *inputs, const uint8_t *row0, const uint8_t *row1, int32_t blocks,
                                uint32_t sums[2])
{
#if AOT_NIBBLE_PAIRS
    int32_t s0 = (int32_t)sums[0];
    int32_t s1 = (int32_t)sums[1];
    const int16_t *const end = inputs + 8 * blocks;
    while (inputs != end) {
        const uint32_t w0 = aot_nibble_load(row0);
        const uint32_t w1 = aot_nibble_load(row1);
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            const uint32_t x = aot_nibble_load(inputs + 2 * i);
            s0 = aot_nibble_multiply(aot_nibble_pair(w0, i), x, s0);
            s1 = aot_nibble_multiply(aot_nibble_pair(w1, i), x, s1);
        }
        row0 += 4;
        row1 += 4;
        inputs += 8;
    }
    sums[0] = (uint32_t)s0;
    sums[1] = (uint32_t)s1;
#else
    uint32_t s0 = sums[0];
    uint32_t s1 = sums[1];
    for (int32_t i = 0; i < 2 * blocks; ++i) {
        s0 += (uint32_t)((row0[0] & 15) * inputs[0]) + (uint32_t)((row0[2] & 15) * inputs[1]);
        s0 += (uint32_t)((row0[0] >> 4) * inputs[2]) + (uint32_t)((row0[2] >> 4) * inputs[3]);
        s1 += (uint32_t)((row1[0] & 15) * inputs[0]) + (uint32_t)((row1[2] & 15) * inputs[1]);
        s1 += (uint32_t)((row1[0] >> 4) * inputs[2]) + (uint32_t)((row1[2] >> 4) * inputs[3]);
        row0 += i % 2 == 0 ? 1 : 3;
        row1 += i % 2 == 0 ? 1 : 3;
        inputs += 4;
    }
    sums[0] = s0;
    sums[1] = s1;
#endif
}

/* Weights of which every byte has two, the first one lower, as bytes of their own. */
AOT_INLINE void aot_nibble_unpack(int8_t *to, const uint8_t *from, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        to[i] = (int8_t)(((from[i / 2] >> (i % 2 * 4)) & 15) - 8);
    }
}

#endif
