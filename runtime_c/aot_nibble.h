/*
 * Products with weights of 4 bits, two in a byte.
 *
 * A weight w in [-7, 7] is stored as w + 8, which has no sign, so that a mask is all it takes to read one. Sums of
 * products are too large by 8 times the sum of the inputs then, which is subtracted beforehand; all this is modulo 2^32,
 * and that the true sum fits is proven for each layer. Eight weights are four bytes: the first has weights 0 and 2, the
 * second 4 and 6, the third 1 and 3, the fourth 5 and 7. In a little-endian word, each pair of neighbours then lies at
 * one place of both halfwords. Rows of weights come in pairs: a word of the one, a word of the other, and so on.
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

/* A function which is all assembly: the compiler must add nothing to it. */
#if defined(__clang__) || (__GNUC__ >= 11)
#define AOT_NIBBLE_ASSEMBLY __attribute__((naked, noinline, unused, no_stack_protector))
#else
#define AOT_NIBBLE_ASSEMBLY __attribute__((naked, noinline, unused, optimize("no-stack-protector")))
#endif
#define AOT_NIBBLE_UNUSED __attribute__((unused))

/* Two weights of each row of a pair times two inputs of each of two pixels: r9 r10 weights, lr mask, r4-r7 sums. */
#define AOT_NIBBLE_FOUR(shift)                                                                                  \
    "and r11, lr, r9" shift "\n and r12, lr, r10" shift "\n"                                                    \
    "ldr r2, [r1], #4\n smlad r4, r11, r2, r4\n smlad r6, r12, r2, r6\n"                                        \
    "ldr r2, [r8], #4\n smlad r5, r11, r2, r5\n smlad r7, r12, r2, r7\n"

/* A pair of rows times two pixels, one right behind the other; sums in the order of aot_nibble_dot. */
AOT_NIBBLE_ASSEMBLY static void aot_nibble_pair(const uint8_t *rows AOT_NIBBLE_UNUSED,
                                                const int16_t *pixels AOT_NIBBLE_UNUSED,
                                                uint32_t *sums AOT_NIBBLE_UNUSED, int32_t blocks AOT_NIBBLE_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r2, r4-r11, lr}\n"
        "ldmia r2, {r4-r7}\n"
        "add r8, r1, r3, lsl #4\n"
        "mov lr, #0x000F000F\n"
        "1:\n"
        "ldr r9, [r0], #4\n ldr r10, [r0], #4\n"
        AOT_NIBBLE_FOUR("") AOT_NIBBLE_FOUR(", lsr #4") AOT_NIBBLE_FOUR(", lsr #8") AOT_NIBBLE_FOUR(", lsr #12")
        "subs r3, r3, #1\n bne 1b\n"
        "pop {r2}\n stmia r2, {r4-r7}\n"
        "pop {r4-r11, pc}\n");
}

/* What singles out two weights; kept in a register, so that the shift before it is part of the same instruction. */
AOT_INLINE uint32_t aot_nibble_mask(void)
{
    uint32_t mask = 0x000F000Fu;
    __asm__("" : "+r"(mask));
    return mask;
}
#else
#define AOT_NIBBLE_PAIRS 0
#endif

/* Inputs as 16 bits, one after the other. */
AOT_INLINE void aot_nibble_widen(int16_t *to, const int8_t *from, int32_t length)
{
    int32_t i = 0;
#if AOT_NIBBLE_PAIRS
    for (; i < length - 3; i += 4) {
        const uint32_t word = aot_nibble_load(from + i);
        const uint32_t even = (uint32_t)__sxtb16((int8x4_t)word);
        uint32_t odd, pairs[2];
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
        __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pairs[0]) : "r"(even), "r"(odd));
        __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pairs[1]) : "r"(odd), "r"(even));
        memcpy(to + i, pairs, sizeof pairs);
    }
#endif
    for (; i < length; ++i) {
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
#if AOT_NIBBLE_PAIRS
    int32_t sum = 0;
    for (int32_t i = 0; i < length; i += 2) {
        sum = aot_nibble_multiply(aot_nibble_load(inputs + i), 0x00080008u, sum);
    }
    return (uint32_t)sum;
#else
    uint32_t sum = 0;
    for (int32_t i = 0; i < length; ++i) {
        const int32_t x = inputs[i];
        sum += (uint32_t)x;
    }
    return 8u * sum;
#endif
}

#if !AOT_NIBBLE_PAIRS
/* sums[p] += a row of weights times pixel p, for two pixels; two bytes of weights with one neighbour each at a time. */
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
        weights += i % 2 == 0 ? 1 : 7;
        pixel0 += 4;
        pixel1 += 4;
    }
    sums[0] = s0;
    sums[1] = s1;
}
#endif

/*
 * sums[r][p] += row r times pixel p, for a pair of rows of weights and two pixels of so many blocks of eight. The second
 * pixel lies right behind the first one.
 */
AOT_INLINE void aot_nibble_dot(const int16_t *pixel0, const int16_t *pixel1, const uint8_t *rows, int32_t blocks,
                               uint32_t sums[2][2])
{
#if AOT_NIBBLE_PAIRS
    (void)pixel1; /* right behind the other one */
    aot_nibble_pair(rows, pixel0, &sums[0][0], blocks);
#else
    aot_nibble_row(rows, pixel0, pixel1, blocks, sums[0]);
    aot_nibble_row(rows + 4, pixel0, pixel1, blocks, sums[1]);
#endif
}

/* sums[r] += row r times the inputs, for a pair of rows of weights. */
AOT_INLINE void aot_nibble_rows(const int16_t *inputs, const uint8_t *rows, int32_t blocks, uint32_t sums[2])
{
#if AOT_NIBBLE_PAIRS
    int32_t s0 = (int32_t)sums[0];
    int32_t s1 = (int32_t)sums[1];
    const int16_t *const end = inputs + 8 * blocks;
    const uint32_t mask = aot_nibble_mask();
    while (inputs != end) {
        const uint32_t w0 = aot_nibble_load(rows);
        const uint32_t w1 = aot_nibble_load(rows + 4);
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            const uint32_t x = aot_nibble_load(inputs + 2 * i);
            s0 = aot_nibble_multiply((w0 >> (4 * i)) & mask, x, s0);
            s1 = aot_nibble_multiply((w1 >> (4 * i)) & mask, x, s1);
        }
        rows += 8;
        inputs += 8;
    }
    sums[0] = (uint32_t)s0;
    sums[1] = (uint32_t)s1;
#else
    uint32_t s0 = sums[0];
    uint32_t s1 = sums[1];
    for (int32_t i = 0; i < 2 * blocks; ++i) {
        s0 += (uint32_t)((rows[0] & 15) * inputs[0]) + (uint32_t)((rows[2] & 15) * inputs[1]);
        s0 += (uint32_t)((rows[0] >> 4) * inputs[2]) + (uint32_t)((rows[2] >> 4) * inputs[3]);
        s1 += (uint32_t)((rows[4] & 15) * inputs[0]) + (uint32_t)((rows[6] & 15) * inputs[1]);
        s1 += (uint32_t)((rows[4] >> 4) * inputs[2]) + (uint32_t)((rows[6] >> 4) * inputs[3]);
        rows += i % 2 == 0 ? 1 : 7;
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
