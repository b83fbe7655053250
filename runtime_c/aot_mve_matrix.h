/*
 * Matrix products for processors with the Arm M-profile vector extension (little-endian).
 *
 * Sums are dot products of vectors of 16 int8: the weights of a layer are one stream of them in the order of their use,
 * padded with zeros to whole vectors, so that whatever stands behind a pixel's inputs does not matter. The functions
 * which compute them are made for a number of vectors and stand in the network's own file.
 */
#ifndef AOT_MVE_MATRIX_H
#define AOT_MVE_MATRIX_H

#include "aot_simd_dsp.h"

/* Whether the instructions are there; if not, C takes their place. */
#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__)
#define AOT_ARM_MVE 1
#else
#define AOT_ARM_MVE 0
#endif

/* What a product of pairs of pixels and fours of channels has to know; the assembly relies on this order. */
typedef struct {
    int32_t tiles;      /* pairs of pixels */
    int32_t groups;     /* fours of output channels */
    int32_t zero;       /* zero point of the output */
    int32_t step;       /* distance in bytes from the outputs of one pair of pixels to those of the next */
    uint16_t places[8]; /* where outputs are stored: channel 0 of both pixels, channel 1 of both, ... */
    const int8_t *residual; /* what is added to the sums, if anything: for the place of the first output */
} aot_mve_tile;

/* A product that the network's own file defines. */
typedef void aot_mve_product(const uint32_t *stream, const int8_t *rows, int8_t *output, const aot_mve_tile *tile);

/* Bytes from one place to another that do not overlap. */
AOT_INLINE void aot_mve_copy(int8_t *to, const int8_t *from, int32_t length)
{
#if AOT_ARM_MVE
    __asm__ volatile(
        "wlstp.8 lr, %2, 2f\n"
        "1: vldrb.8 q0, [%1], #16\n vstrb.8 q0, [%0], #16\n letp lr, 1b\n"
        "2:\n" : "+r"(to), "+r"(from) : "r"(length) : "lr", "q0", "cc", "memory");
#else
    memcpy(to, from, (size_t)length);
#endif
}

/* Bytes which are all one value. */
AOT_INLINE void aot_mve_fill(int8_t *to, int8_t value, int32_t length)
{
#if AOT_ARM_MVE
    __asm__ volatile(
        "vdup.8 q0, %2\n wlstp.8 lr, %1, 2f\n"
        "1: vstrb.8 q0, [%0], #16\n letp lr, 1b\n"
        "2:\n" : "+r"(to) : "r"(length), "r"(value) : "lr", "q0", "cc", "memory");
#else
    memset(to, value, (size_t)length);
#endif
}

/* Where aot_mve_spread goes; the assembly relies on this order. */
typedef struct {
    int32_t to_step;   /* bytes from one item to the next */
    int32_t from_step;
    int32_t length;    /* bytes of an item; of more than 16, the first 16 are copied */
} aot_mve_steps;

#if AOT_ARM_MVE
/* `count` items of up to 16 bytes, each to its own place. */
__attribute__((naked, noinline, unused)) static void aot_mve_spread(int8_t *to AOT_UNUSED, const int8_t *from AOT_UNUSED,
                                                                    int32_t count AOT_UNUSED,
                                                                    const aot_mve_steps *steps AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4, lr}\n"
        "ldr r4, [r3, #8]\n ldrd r3, r12, [r3]\n"
        "dls lr, r2\n"
        "cmp r4, #16\n bge 2f\n"
        "vctp.8 r4\n"
        "1:\n"
        "vpstt\n vldrbt.8 q0, [r1]\n vstrbt.8 q0, [r0]\n add r1, r1, r12\n add r0, r0, r3\n"
        "le lr, 1b\n"
        "pop {r4, pc}\n"
        "2:\n"
        "vldrb.8 q0, [r1]\n add r1, r1, r12\n vstrb.8 q0, [r0]\n add r0, r0, r3\n"
        "le lr, 2b\n"
        "pop {r4, pc}\n");
}
#else
AOT_INLINE void aot_mve_spread(int8_t *to, const int8_t *from, int32_t count, const aot_mve_steps *steps)
{
    const int32_t length = steps->length < 16 ? steps->length : 16;
    for (int32_t i = 0; i < count; ++i) {
        memcpy(to, from, (size_t)length);
        to += steps->to_step;
        from += steps->from_step;
    }
}
#endif

/* The same for items of any length. */
AOT_INLINE void aot_mve_spread_all(int8_t *to, const int8_t *from, int32_t count, aot_mve_steps steps)
{
    for (; steps.length > 0; steps.length -= 16) {
        aot_mve_spread(to, from, count, &steps);
        to += 16;
        from += steps.from_step == 0 ? 0 : 16;
    }
}

/* One vector of int8 times another. */
AOT_INLINE int32_t aot_mve_dot(const int8_t *a, const int8_t *b)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < 16; ++i) {
        sum += a[i] * b[i];
    }
    return sum;
}

/*
 * Pairs of pixels, `pitch` bytes apart, times fours of channels in `blocks` vectors: the equivalent in C. Factors of a
 * residual, whose zero point is given if sums below 0 are cut off before it is added, stand behind the multipliers.
 */
AOT_INLINE void aot_mve_product_c(const uint32_t *stream, const int8_t *rows, int8_t *output, const aot_mve_tile *tile,
                                  int32_t blocks, int32_t pitch, enum aot_sum what, int32_t residual_zero)
{
    const int8_t *residual = tile->residual;
    for (int32_t group = 0; group < tile->groups; ++group) {
        const int32_t head = what == AOT_SUM_ALONE ? 8 : 12;
        const int8_t *const weights = (const int8_t *)(stream + head);
        for (int32_t i = 0; i < 2 * tile->tiles; ++i) {
            const int8_t *const row = rows + i * pitch;
            for (int32_t c = 0; c < 4; ++c) {
                uint32_t sum = stream[c];
                for (int32_t block = 0; block < blocks; ++block) {
                    sum += (uint32_t)aot_mve_dot(row + 16 * block, weights + (4 * block + c) * 16);
                }
                if (what == AOT_SUM_RELU_ADD) {
                    sum = (uint32_t)aot_max((int32_t)sum, 0);
                }
                if (what != AOT_SUM_ALONE) {
                    const int32_t value = residual[i / 2 * tile->step + tile->places[2 * c + i % 2]] - residual_zero;
                    sum += (uint32_t)value * stream[8 + c];
                }
                output[i / 2 * tile->step + tile->places[2 * c + i % 2]] =
                    aot_clamp(aot_requantize((int32_t)sum, (int32_t)stream[4 + c], tile->zero), -128, 127);
            }
        }
        stream += head + 16 * blocks;
        output += 4;
        if (what != AOT_SUM_ALONE) {
            residual += 4;
        }
    }
}

/* For a layer with `channels` in one group of a convolution, of `out_c` in all. */
AOT_INLINE aot_mve_tile aot_mve_layer(int32_t channels, int32_t out_c, int32_t zero, int32_t pixels)
{
    aot_mve_tile tile;
    tile.tiles = 1;
    tile.groups = 1;
    tile.zero = zero;
    tile.step = 2 * out_c;
    for (int32_t i = 0; i < 8; ++i) { /* of less than four channels, the last is computed again */
        const int32_t c = i / 2 < channels ? i / 2 : channels - 1;
        tile.places[i] = (uint16_t)(c + (i % 2 < pixels ? i % 2 : 0) * out_c);
    }
    return tile;
}

/*
 * All channels of a pair of pixels or more. Where they do not come in fours, the last four overlap those before. `head`:
 * words of the stream before weights.
 */
AOT_INLINE void aot_mve_channels(aot_mve_product *product, const uint32_t *stream, const int8_t *rows, int8_t *output,
                                 aot_mve_tile tile, int32_t channels, int32_t blocks, int32_t head)
{
    tile.groups = channels < 4 ? 1 : channels / 4;
    product(stream, rows, output, &tile);
    if (channels > 4 && channels % 4 != 0) {
        stream += tile.groups * (head + 16 * blocks);
        tile.groups = 1;
        if (head > 8) {
            tile.residual += channels - 4;
        }
        product(stream, rows, output + channels - 4, &tile);
    }
}

/*
 * All channels of `count` pixels, with a residual added to the sums unless there is none. Of an odd number, the last pair
 * overlaps the one before; a lone row is there twice.
 */
AOT_INLINE void aot_mve_pixels(aot_mve_product *product, const uint32_t *stream, const int8_t *rows,
                               const int8_t *residual, int8_t *output, int32_t count, int32_t channels, int32_t out_c,
                               int32_t zero, int32_t blocks, int32_t pitch)
{
    const int32_t head = residual == NULL ? 8 : 12;
    aot_mve_tile tile = aot_mve_layer(channels, out_c, zero, count < 2 ? count : 2);
    tile.tiles = count < 2 ? 1 : count / 2;
    tile.residual = residual;
    aot_mve_channels(product, stream, rows, output, tile, channels, blocks, head);
    if (count > 1 && count % 2 != 0) {
        tile.tiles = 1;
        if (residual != NULL) {
            tile.residual = residual + (count - 2) * out_c;
        }
        aot_mve_channels(product, stream, rows + (count - 2) * pitch, output + (count - 2) * out_c, tile, channels,
                         blocks, head);
    }
}

/* What a product of one row and many channels has to know; the assembly relies on this order. */
typedef struct {
    int32_t zero;   /* zero point of the output */
    int32_t eights; /* eights of channels, then */
    int32_t fours;  /* fours */
} aot_mve_row;

/* One row times groups of eight or four channels in `blocks` vectors: the equivalent in C. */
AOT_INLINE const uint32_t *aot_mve_row_c(const uint32_t *stream, const int8_t *input, int8_t *output, int32_t groups,
                                         int32_t group, int32_t blocks, int32_t zero)
{
    for (; groups > 0; --groups) {
        const int8_t *const weights = (const int8_t *)(stream + 2 * group);
        for (int32_t c = 0; c < group; ++c) {
            int32_t products = 0; /* apart from the bias: GCC 12.2 -O2 for x86 loses the stores behind one sum of both */
            for (int32_t block = 0; block < blocks; ++block) {
                products += aot_mve_dot(input + 16 * block, weights + (group * block + c) * 16);
            }
            const uint32_t sum = stream[c] + (uint32_t)products;
            /* of eight multipliers, those of even channels come first */
            const int32_t place = group == 8 ? c / 2 + c % 2 * 4 : c;
            *output++ = aot_clamp(aot_requantize((int32_t)sum, (int32_t)stream[group + place], zero), -128, 127);
        }
        stream += 2 * group + 4 * group * blocks;
    }
    return stream;
}

/* The fused activation, for the few layers whose limits are not those of int8. */
AOT_INLINE void aot_mve_clamp(int8_t *output, int32_t length, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < length; ++i) {
        output[i] = aot_clamp(output[i], low, high);
    }
}

#endif
