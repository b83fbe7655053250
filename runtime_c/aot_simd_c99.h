/*
 * Primitives of matrix products in portable C99.
 *
 * A tile holds the inputs of AOT_TILE output pixels, one after the other, widened to 16 bits.
 */
#ifndef AOT_SIMD_H
#define AOT_SIMD_H

#include "aot_fixed.h"

enum { AOT_TILE = 2 };

/* Elements k .. k + n of one pixel of a tile whose pixels have `depth` elements: copied from int8 data. */
AOT_INLINE void aot_tile_copy(int16_t *tile, int32_t depth, int32_t pixel, int32_t k, const int8_t *from, int32_t n)
{
    int16_t *to = tile + pixel * depth + k;
    for (int32_t i = 0; i < n; ++i) {
        to[i] = from[i];
    }
}

/* The same, all set to one value. */
AOT_INLINE void aot_tile_fill(int16_t *tile, int32_t depth, int32_t pixel, int32_t k, int8_t value, int32_t n)
{
    int16_t *to = tile + pixel * depth + k;
    for (int32_t i = 0; i < n; ++i) {
        to[i] = value;
    }
}

/* sums[r][p] += row r of the weights times pixel p of the tile. */
AOT_INLINE void aot_tile_dot(const int16_t *tile, const int8_t *row0, const int8_t *row1, int32_t depth,
                             int32_t sums[2][AOT_TILE])
{
    const int16_t *pixel0 = tile;
    const int16_t *pixel1 = tile + depth;
    int32_t s00 = sums[0][0];
    int32_t s01 = sums[0][1];
    int32_t s10 = sums[1][0];
    int32_t s11 = sums[1][1];
    for (int32_t k = 0; k < depth; ++k) {
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

/* sums[r] += row r times the input, both int8, for two rows. */
AOT_INLINE void aot_row_dot(const int8_t *input, const int8_t *row0, const int8_t *row1, int32_t length,
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

#endif
