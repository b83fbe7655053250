/*
 * Primitives of matrix products for processors with the Arm DSP extension (little-endian).
 *
 * A tile holds the inputs of AOT_TILE output pixels, widened to 16 bits, in blocks of four elements: block after block,
 * in each block pixel after pixel. Elements of a block are stored in the order 0 2 1 3, which is how SXTB16 splits a
 * word of four bytes; weights are split the same way as they are read. Each instruction has an equivalent in C beside
 * it, so that this path runs on any little-endian machine.
 */
#ifndef AOT_SIMD_H
#define AOT_SIMD_H

#include "aot_fixed.h"

enum { AOT_TILE = 3 };

/* Whether the instructions are there; if not, C takes their place. */
#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
#define AOT_ARM_DSP 1
#define AOT_UNUSED __attribute__((unused)) /* for what only assembly reads */
/* A function which is all assembly: the compiler must add nothing to it. */
#if defined(__clang__) || (__GNUC__ >= 11)
#define AOT_ASSEMBLY __attribute__((naked, noinline, unused, no_stack_protector))
#else
#define AOT_ASSEMBLY __attribute__((naked, noinline, unused, optimize("no-stack-protector")))
#endif
#else
#define AOT_ARM_DSP 0
#endif

#if AOT_ARM_DSP
#include <arm_acle.h>

/* Bytes 0 and 2 of a word, sign-extended to halfwords. */
AOT_INLINE uint32_t aot_even_bytes(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

/* Bytes 1 and 3 of a word, sign-extended to halfwords. */
AOT_INLINE uint32_t aot_odd_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* sum + low halfword times low halfword + high halfword times high halfword. */
AOT_INLINE int32_t aot_multiply_pairs(uint32_t a, uint32_t b, int32_t sum)
{
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
}

#else

AOT_INLINE uint32_t aot_even_bytes(uint32_t word)
{
    const int32_t low = (int8_t)(word & 0xFFu);
    const int32_t high = (int8_t)((word >> 16) & 0xFFu);
    return ((uint32_t)low & 0xFFFFu) | ((uint32_t)high << 16);
}

AOT_INLINE uint32_t aot_odd_bytes(uint32_t word)
{
    return aot_even_bytes(word >> 8);
}

AOT_INLINE int32_t aot_multiply_pairs(uint32_t a, uint32_t b, int32_t sum)
{
    const int32_t low = (int16_t)(a & 0xFFFFu) * (int16_t)(b & 0xFFFFu);
    const int32_t high = (int16_t)(a >> 16) * (int16_t)(b >> 16);
    return sum + low + high;
}

#endif

/* Four bytes, or two halfwords, as one word; the address needs no alignment beyond that of its elements. */
AOT_INLINE uint32_t aot_load_bytes(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

AOT_INLINE uint32_t aot_load_pair(const int16_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

AOT_INLINE void aot_store_pair(int16_t *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

/* Bytes from one place to another that do not overlap; for lengths which the compiler knows, a few words. */
AOT_INLINE void aot_copy(int8_t *to, const int8_t *from, int32_t length)
{
    memcpy(to, from, (size_t)length);
}

/* To both halfwords of a sum: bytes 0 and 2 of a word, and bytes 1 and 3. No sum may leave 16 bits. */
AOT_INLINE uint32_t aot_add_even_bytes(uint32_t sum, uint32_t word)
{
#if AOT_ARM_DSP
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(word));
    return result;
#else
    const uint32_t bytes = aot_even_bytes(word);
    return ((sum + bytes) & 0xFFFFu) | (((sum >> 16) + (bytes >> 16)) << 16);
#endif
}

AOT_INLINE uint32_t aot_add_odd_bytes(uint32_t sum, uint32_t word)
{
#if AOT_ARM_DSP
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(word));
    return result;
#else
    return aot_add_even_bytes(sum, word >> 8);
#endif
}

/* Low halfwords of two words, the first one lower; and their high halfwords. */
AOT_INLINE uint32_t aot_low_pair(uint32_t first, uint32_t second)
{
#if AOT_ARM_DSP
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(first), "r"(second));
    return result;
#else
    return (first & 0xFFFFu) | (second << 16);
#endif
}

AOT_INLINE uint32_t aot_high_pair(uint32_t first, uint32_t second)
{
#if AOT_ARM_DSP
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(second), "r"(first));
    return result;
#else
    return (first >> 16) | (second & 0xFFFF0000u);
#endif
}

/* Shifted right and saturated to eight bits; the shift is a constant from 1 to 31. */
#if AOT_ARM_DSP
#define AOT_SATURATE(value, shift)                                                                                     \
    __extension__({                                                                                                    \
        int32_t saturated_;                                                                                            \
        __asm__("ssat %0, #8, %1, asr %2" : "=r"(saturated_) : "r"(value), "n"(shift));                                 \
        (int8_t)saturated_;                                                                                            \
    })
#else
#define AOT_SATURATE(value, shift) aot_clamp((value) >> (shift), -128, 127)
#endif

/* Where element k of one pixel stands in a tile. */
AOT_INLINE int32_t aot_tile_index(int32_t pixel, int32_t k)
{
    const int32_t place = ((k & 1) << 1) | ((k >> 1) & 1);
    return (k & ~3) * AOT_TILE + pixel * 4 + place;
}

/* Elements k .. k + n of one pixel, copied from int8 data. */
AOT_INLINE void aot_tile_copy(int16_t *tile, int32_t depth, int32_t pixel, int32_t k, const int8_t *from, int32_t n)
{
    (void)depth;
    if (n % 4 == 0) { /* then k is a multiple of four, too */
        int16_t *to = tile + k * AOT_TILE + pixel * 4;
        for (int32_t i = 0; i < n; i += 4) {
            const uint32_t word = aot_load_bytes(from + i);
            aot_store_pair(to, aot_even_bytes(word));
            aot_store_pair(to + 2, aot_odd_bytes(word));
            to += 4 * AOT_TILE;
        }
    } else {
        for (int32_t i = 0; i < n; ++i) {
            tile[aot_tile_index(pixel, k + i)] = from[i];
        }
    }
}

/* The same, all set to one value. */
AOT_INLINE void aot_tile_fill(int16_t *tile, int32_t depth, int32_t pixel, int32_t k, int8_t value, int32_t n)
{
    (void)depth;
    for (int32_t i = 0; i < n; ++i) {
        tile[aot_tile_index(pixel, k + i)] = value;
    }
}

/* sums[r][p] += row r of the weights times pixel p of the tile; depth is a multiple of four. */
AOT_INLINE void aot_tile_dot(const int16_t *tile, const int8_t *row0, const int8_t *row1, int32_t depth,
                             int32_t sums[2][AOT_TILE])
{
    int32_t s00 = sums[0][0];
    int32_t s01 = sums[0][1];
    int32_t s02 = sums[0][2];
    int32_t s10 = sums[1][0];
    int32_t s11 = sums[1][1];
    int32_t s12 = sums[1][2];
    const int8_t *const end = row0 + depth;
    while (row0 != end) {
        const uint32_t w0 = aot_load_bytes(row0);
        const uint32_t w1 = aot_load_bytes(row1);
        const uint32_t w0_even = aot_even_bytes(w0);
        const uint32_t w0_odd = aot_odd_bytes(w0);
        const uint32_t w1_even = aot_even_bytes(w1);
        const uint32_t w1_odd = aot_odd_bytes(w1);
        uint32_t x = aot_load_pair(tile);
        s00 = aot_multiply_pairs(x, w0_even, s00);
        s10 = aot_multiply_pairs(x, w1_even, s10);
        x = aot_load_pair(tile + 2);
        s00 = aot_multiply_pairs(x, w0_odd, s00);
        s10 = aot_multiply_pairs(x, w1_odd, s10);
        x = aot_load_pair(tile + 4);
        s01 = aot_multiply_pairs(x, w0_even, s01);
        s11 = aot_multiply_pairs(x, w1_even, s11);
        x = aot_load_pair(tile + 6);
        s01 = aot_multiply_pairs(x, w0_odd, s01);
        s11 = aot_multiply_pairs(x, w1_odd, s11);
        x = aot_load_pair(tile + 8);
        s02 = aot_multiply_pairs(x, w0_even, s02);
        s12 = aot_multiply_pairs(x, w1_even, s12);
        x = aot_load_pair(tile + 10);
        s02 = aot_multiply_pairs(x, w0_odd, s02);
        s12 = aot_multiply_pairs(x, w1_odd, s12);
        row0 += 4;
        row1 += 4;
        tile += 12;
    }
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[0][2] = s02;
    sums[1][0] = s10;
    sums[1][1] = s11;
    sums[1][2] = s12;
}

/* sums[r] += row r times the input, both int8, for two rows. */
AOT_INLINE void aot_row_dot(const int8_t *input, const int8_t *row0, const int8_t *row1, int32_t length,
                            int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t k = 0;
    for (; k + 4 <= length; k += 4) {
        const uint32_t x = aot_load_bytes(input + k);
        const uint32_t w0 = aot_load_bytes(row0 + k);
        const uint32_t w1 = aot_load_bytes(row1 + k);
        const uint32_t x_even = aot_even_bytes(x);
        const uint32_t x_odd = aot_odd_bytes(x);
        s0 = aot_multiply_pairs(x_even, aot_even_bytes(w0), s0);
        s1 = aot_multiply_pairs(x_even, aot_even_bytes(w1), s1);
        s0 = aot_multiply_pairs(x_odd, aot_odd_bytes(w0), s0);
        s1 = aot_multiply_pairs(x_odd, aot_odd_bytes(w1), s1);
    }
    for (; k < length; ++k) {
        s0 += row0[k] * input[k];
        s1 += row1[k] * input[k];
    }
    sums[0] = s0;
    sums[1] = s1;
}

#endif
