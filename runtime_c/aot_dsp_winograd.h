/*
 * Convolution 3x3, stride 1, by Winograd's algorithm F(4x4, 3x3) in integers, for processors with the Arm DSP extension.
 *
 * A window of 6x6 inputs gives 4x4 outputs: 36 products a channel instead of 144. With B the transform of inputs, G of
 * weights and A of sums (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", section 4.3),
 *
 *     576 * outputs = A' [ sum over channels of (G' weights G'^T) * (B inputs B^T) ] A'^T
 *
 * where G' and A' are G and A with rows and columns scaled so that all numbers are integers and fit into 16 bits. All
 * arithmetic is modulo 2^32, which is exact because 576 times the true sum is proven to fit. The factor 576 = 9 * 64 is
 * removed by multiplication with the inverse of 9 modulo 2^32, then by a shift which is part of the saturation.
 */
#ifndef AOT_DSP_WINOGRAD_H
#define AOT_DSP_WINOGRAD_H

#include "aot_simd_dsp.h"

enum {
    AOT_WINOGRAD_SIDE = 6,      /* of a window */
    AOT_WINOGRAD_PLACES = 36,   /* in a window */
    AOT_WINOGRAD_MOST = 16      /* groups of four channels */
};

/* The inverse of 9 modulo 2^32. */
#define AOT_WINOGRAD_NINTH 0x38E38E39u

#if AOT_ARM_DSP

AOT_INLINE uint32_t aot_add_pairs(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

AOT_INLINE uint32_t aot_subtract_pairs(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

#else

/* Halfword by halfword, modulo 2^16. */
AOT_INLINE uint32_t aot_add_pairs(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xFFFFu) | (((a >> 16) + (b >> 16)) << 16);
}

AOT_INLINE uint32_t aot_subtract_pairs(uint32_t a, uint32_t b)
{
    return ((a - b) & 0xFFFFu) | (((a >> 16) - (b >> 16)) << 16);
}

#endif

/* Six numbers by B: two channels at once. */
AOT_INLINE void aot_winograd_inputs(const uint32_t d[AOT_WINOGRAD_SIDE], uint32_t *to, int32_t step)
{
    const uint32_t c = aot_subtract_pairs(d[4], d[2]);
    const uint32_t f = aot_subtract_pairs(d[3], d[1]);
    const uint32_t e = aot_add_pairs(f, f);
    to[3 * step] = aot_add_pairs(c, e);
    to[4 * step] = aot_subtract_pairs(c, e);
    uint32_t t = aot_subtract_pairs(d[0], d[2]);
    t = aot_add_pairs(t, t);
    t = aot_add_pairs(t, t);
    to[0] = aot_add_pairs(c, t);
    t = aot_subtract_pairs(d[5], d[3]);
    t = aot_subtract_pairs(t, e);
    to[5 * step] = aot_subtract_pairs(t, e);
    t = aot_add_pairs(d[2], d[2]);
    const uint32_t a = aot_subtract_pairs(d[4], aot_add_pairs(t, t));
    t = aot_add_pairs(d[1], d[1]);
    const uint32_t b = aot_subtract_pairs(d[3], aot_add_pairs(t, t));
    to[step] = aot_add_pairs(a, b);
    to[2 * step] = aot_subtract_pairs(a, b);
}

/*
 * One window: `pixels` are its 36 inputs of four channels each, `temporary` has room for 72 words. The result goes to
 * the window's place in a tile of two, where four words, two a window, hold four channels; `step` words from one of the
 * 36 places to the next.
 */
AOT_INLINE void aot_winograd_window(const int8_t *const pixels[AOT_WINOGRAD_PLACES], int32_t channel, uint32_t *tile,
                                    int32_t step, uint32_t *temporary)
{
    for (int32_t x = 0; x < AOT_WINOGRAD_SIDE; ++x) {
        uint32_t even[AOT_WINOGRAD_SIDE];
        uint32_t odd[AOT_WINOGRAD_SIDE];
        for (int32_t y = 0; y < AOT_WINOGRAD_SIDE; ++y) {
            const uint32_t word = aot_load_bytes(pixels[y * AOT_WINOGRAD_SIDE + x] + channel);
            even[y] = aot_even_bytes(word);
            odd[y] = aot_odd_bytes(word);
        }
        aot_winograd_inputs(even, temporary + x, AOT_WINOGRAD_SIDE);
        aot_winograd_inputs(odd, temporary + AOT_WINOGRAD_PLACES + x, AOT_WINOGRAD_SIDE);
    }
    for (int32_t y = 0; y < AOT_WINOGRAD_SIDE; ++y) {
        aot_winograd_inputs(temporary, tile, step);
        aot_winograd_inputs(temporary + AOT_WINOGRAD_PLACES, tile + 1, step);
        temporary += AOT_WINOGRAD_SIDE;
        tile += AOT_WINOGRAD_SIDE * step;
    }
}

#if AOT_ARM_DSP

/* Four channels: r4-r7 weights of two outputs, r2 r3 r12 lr inputs of two windows, r8-r11 sums. */
#define AOT_WINOGRAD_STEP                                                                                       \
    "ldmia r0!, {r4, r5, r6, r7}\n ldmia r1!, {r2, r3, r12, lr}\n"                                              \
    "smlad r8, r4, r2, r8\n smlad r8, r5, r3, r8\n smlad r9, r4, r12, r9\n smlad r9, r5, lr, r9\n"              \
    "smlad r10, r6, r2, r10\n smlad r10, r7, r3, r10\n smlad r11, r6, r12, r11\n smlad r11, r7, lr, r11\n"

/* Two output channels at two windows, for each of the 36 places: four sums each, channel by channel. */
AOT_ASSEMBLY static void aot_winograd_sums(const uint32_t *weights AOT_UNUSED, const uint32_t *tile AOT_UNUSED,
                                           uint32_t *sums AOT_UNUSED, int32_t fours AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #12\n"
        "str r2, [sp]\n"              /* 0 sums */
        "rsb r3, r3, #16\n"           /* steps that are skipped, of 38 bytes each; the first stands apart */
        "movs r4, #38\n mul r3, r3, r4\n adr.w r4, 2f\n add r3, r3, r4\n orr r3, r3, #1\n"
        "str r3, [sp, #4]\n"          /* 4 where the steps start */
        "add r2, r2, #576\n str r2, [sp, #8]\n" /* 8 end of the sums */
        "1:\n"
        "ldmia r0!, {r4, r5, r6, r7}\n ldmia r1!, {r2, r3, r12, lr}\n"
        "smuad r8, r4, r2\n smlad r8, r5, r3, r8\n smuad r9, r4, r12\n smlad r9, r5, lr, r9\n"
        "smuad r10, r6, r2\n smlad r10, r7, r3, r10\n smuad r11, r6, r12\n smlad r11, r7, lr, r11\n"
        "ldr pc, [sp, #4]\n"
        ".p2align 2\n"
        "2:\n"
        ".rept 15\n" AOT_WINOGRAD_STEP ".endr\n"
        "ldr r2, [sp]\n ldr r3, [sp, #8]\n"
        "stmia r2!, {r8, r9, r10, r11}\n"
        "cmp r2, r3\n str r2, [sp]\n bne 1b\n"
        "add sp, sp, #12\n"
        "pop {r4-r11, pc}\n");
}

#else

/* Two output channels at two windows, for each of the 36 places: four sums each, channel by channel. */
AOT_INLINE void aot_winograd_sums(const uint32_t *weights, const uint32_t *tile, uint32_t *sums, int32_t fours)
{
    for (int32_t place = 0; place < AOT_WINOGRAD_PLACES; ++place) {
        for (int32_t i = 0; i < 4; ++i) {
            const uint32_t *w = weights + (i >> 1) * 2;
            const uint32_t *x = tile + (i & 1) * 2;
            uint32_t sum = 0;
            for (int32_t k = 0; k < 4 * fours; k += 4) {
                sum += (uint32_t)aot_multiply_pairs(w[k], x[k], 0);
                sum += (uint32_t)aot_multiply_pairs(w[k + 1], x[k + 1], 0);
            }
            *sums++ = sum;
        }
        weights += 4 * fours;
        tile += 4 * fours;
    }
}

#endif

/* Six sums by A', of which `step` parts them, to four, which are still to be multiplied by 1, 2, 4 and 4. */
AOT_INLINE void aot_winograd_outputs(const uint32_t *m, int32_t step, uint32_t to[4], int32_t to_step)
{
    const uint32_t s = m[step] + m[2 * step];
    const uint32_t d = m[step] - m[2 * step];
    const uint32_t p = m[3 * step] + m[4 * step];
    const uint32_t q = m[3 * step] - m[4 * step];
    to[0] = p + 4u * s + 6u * m[0];
    to[to_step] = 2u * d + q;
    to[2 * to_step] = s + p;
    to[3 * to_step] = d + 2u * (q + 3u * m[5 * step]);
}

/* What becomes of a channel's sums. */
typedef struct {
    int32_t bias;        /* times 64 */
    int32_t multiplier;
    int32_t offset;      /* 64 times the zero point of the output, plus one half */
    int32_t factor;      /* 64 times what the residual is multiplied with */
    int32_t zero;        /* the residual's zero point, if sums below 0 are cut off before it is added */
} aot_winograd_channel;

/*
 * Sum to output, exact: `ninth` is the inverse of 9 times what the sum is still to be multiplied by; 64 is divided out
 * as the value is saturated. `residual` is read where one is added.
 */
AOT_INLINE int8_t aot_winograd_output(uint32_t sum, uint32_t ninth, const aot_winograd_channel *channel,
                                      const int8_t *residual, enum aot_sum what)
{
    int32_t sum64 = (int32_t)(sum * ninth + (uint32_t)channel->bias);
    int32_t scaled;
    if (what == AOT_SUM_RELU_ADD) {
        sum64 = aot_max(sum64, 0) + channel->factor * (*residual - channel->zero);
    } else if (what == AOT_SUM_ADD) {
        sum64 += channel->factor * *residual;
    }
#if AOT_ARM_DSP
    __asm__("smmla %0, %1, %2, %3" : "=r"(scaled) : "r"(sum64), "r"(channel->multiplier), "r"(channel->offset));
#else
    scaled = channel->offset + (int32_t)(((int64_t)sum64 * channel->multiplier) >> 32);
#endif
    return AOT_SATURATE(scaled, 6);
}

/* Where a window's outputs go, what is added to their sums, and how many of its 4x4 there are. */
typedef struct {
    int8_t *output;
    const int8_t *residual;
    int32_t rows;
    int32_t columns;
} aot_winograd_place;

/* One channel at one window, from a fourth of the sums. */
AOT_INLINE void aot_winograd_store(const uint32_t *sums, aot_winograd_channel channel, aot_winograd_place place,
                                   int32_t index, int32_t row_step, int32_t column_step, enum aot_sum what)
{
    int8_t *output = place.output + index;
    const int8_t *residual = what == AOT_SUM_ALONE ? output : place.residual + index;
    uint32_t half[4 * AOT_WINOGRAD_SIDE];
    uint32_t row[4];
#pragma GCC unroll 6
    for (int32_t x = 0; x < AOT_WINOGRAD_SIDE; ++x) {
        aot_winograd_outputs(sums + 4 * x, 4 * AOT_WINOGRAD_SIDE, half + x, AOT_WINOGRAD_SIDE);
    }
    if (place.rows == 4 && place.columns == 4) {
#pragma GCC unroll 4
        for (int32_t y = 0; y < 4; ++y) {
            const uint32_t ninth = AOT_WINOGRAD_NINTH << (y < 2 ? y : 2);
            aot_winograd_outputs(half + y * AOT_WINOGRAD_SIDE, 1, row, 1);
#pragma GCC unroll 4
            for (int32_t x = 0; x < 4; ++x) {
                output[x * column_step] = aot_winograd_output(row[x], ninth << (x < 2 ? x : 2), &channel,
                                                              residual + x * column_step, what);
            }
            output += row_step;
            residual += row_step;
        }
        return;
    }
    for (int32_t y = 0; y < place.rows; ++y) {
        const uint32_t ninth = AOT_WINOGRAD_NINTH << (y < 2 ? y : 2);
        aot_winograd_outputs(half + y * AOT_WINOGRAD_SIDE, 1, row, 1);
        for (int32_t x = 0; x < place.columns; ++x) {
            output[x * column_step] = aot_winograd_output(row[x], ninth << (x < 2 ? x : 2), &channel,
                                                          residual + x * column_step, what);
        }
        output += row_step;
        residual += row_step;
    }
}

#endif
