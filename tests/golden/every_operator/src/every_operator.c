/* every_operator: layers in order of execution, then the function that runs them. */
#include "every_operator.h"

#include <stddef.h>

#include "aot_simd_c99.h"
#include "every_operator_weights.h"

#if AOT_RUNTIME_VERSION != 1
#error "aot_fixed.h is of another version than every_operator.c: regenerate both"
#endif

/* mul: 1x4x4x3 + 1x1x1x3 -> 1x4x4x3
 * from scaled
 */
AOT_LAYER static void mul_0(const int8_t *a, const int8_t *b, int8_t *output)
{
    enum {
        COUNT_0 = 16, COUNT_1 = 3, A_STRIDE_0 = 3, A_STRIDE_1 = 1, B_STRIDE_0 = 0, B_STRIDE_1 = 1,
        A_ZERO = -128, B_ZERO = -100, MULTIPLIER = 10827650, SHIFT = 0, OUT_ZERO = -92, OUT_MIN = -92,
        OUT_MAX = 127
    };
    for (int32_t i0 = 0; i0 < COUNT_0; ++i0) {
        for (int32_t i1 = 0; i1 < COUNT_1; ++i1) {
            const int32_t x = a[i0 * A_STRIDE_0 + i1 * A_STRIDE_1] - A_ZERO;
            const int32_t y = b[i0 * B_STRIDE_0 + i1 * B_STRIDE_1] - B_ZERO;
            *output++ = aot_clamp(aot_requantize(x * y, MULTIPLIER, OUT_ZERO), OUT_MIN, OUT_MAX);
        }
    }
}

/* pad: 1x4x4x3 -> 1x6x6x3
 * from padded
 */
AOT_LAYER static void pad_1(const int8_t *input, int8_t *output)
{
    enum {
        COUNT_0 = 4, COUNT_1 = 12, OUT_STRIDE_0 = 18, OUT_STRIDE_1 = 1, LENGTH = 108, FILL = -56,
        FIRST = 21
    };
    memset(output, FILL, LENGTH);
    for (int32_t i0 = 0; i0 < COUNT_0; ++i0) {
        for (int32_t i1 = 0; i1 < COUNT_1; ++i1) {
            output[FIRST + i0 * OUT_STRIDE_0 + i1 * OUT_STRIDE_1] = *input++;
        }
    }
}

/* conv2d: 1x6x6x3 -> 1x6x6x2
 * from conv
 */
AOT_LAYER static void conv2d_2(const int8_t *input, int8_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 6, IN_W = 6, IN_C = 3, OUT_H = 6, OUT_W = 6, OUT_C = 2, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 3, GROUP_OUT_C = 2, PIXELS = 36, DEPTH = 27,
        PADDED_DEPTH = 27, IN_ZERO = -92, OUT_ZERO = -77, OUT_MIN = -128, OUT_MAX = 127, SHIFT = 0
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t group = 0; group < GROUPS; ++group) {
            for (int32_t first = 0; first < PIXELS; first += AOT_TILE) {
                const int32_t count = PIXELS - first < AOT_TILE ? PIXELS - first : AOT_TILE;
                /* gather the inputs of AOT_TILE pixels; a last, partial tile repeats its first pixel */
                for (int32_t p = 0; p < AOT_TILE; ++p) {
                    const int32_t pixel = p < count ? first + p : first;
                    const int32_t top = pixel / OUT_W * STRIDE_H - PAD_TOP;
                    const int32_t left = pixel % OUT_W * STRIDE_W - PAD_LEFT;
                    int32_t k = 0;
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int32_t y = top + ky * DILATION_H;
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int32_t x = left + kx * DILATION_W;
                            if (y >= 0 && y < IN_H && x >= 0 && x < IN_W) {
                                const int8_t *from = input + (y * IN_W + x) * IN_C + group * GROUP_IN_C;
                                aot_tile_copy(tile, PADDED_DEPTH, p, k, from, GROUP_IN_C);
                            } else {
                                aot_tile_fill(tile, PADDED_DEPTH, p, k, IN_ZERO, GROUP_IN_C);
                            }
                            k += GROUP_IN_C;
                        }
                    }
                }
                for (int32_t c = 0; c < GROUP_OUT_C; c += 2) {
                    const int32_t c0 = group * GROUP_OUT_C + c;
                    const int32_t c1 = c + 1 < GROUP_OUT_C ? c0 + 1 : c0; /* an odd last channel is its own partner */
                    int8_t *out = output + first * OUT_C;
                    int32_t sums[2][AOT_TILE];
                    for (int32_t p = 0; p < AOT_TILE; ++p) {
                        sums[0][p] = every_operator_conv2d_2_bias[c0];
                        sums[1][p] = every_operator_conv2d_2_bias[c1];
                    }
                    aot_tile_dot(tile, every_operator_conv2d_2_weights + c0 * PADDED_DEPTH, every_operator_conv2d_2_weights + c1 * PADDED_DEPTH,
                                 PADDED_DEPTH, sums);
                    {
                        const int32_t v0 = aot_requantize(sums[0][0], every_operator_conv2d_2_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][0], every_operator_conv2d_2_multipliers[c1], OUT_ZERO);
                        out[0 * OUT_C + c0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
                        out[0 * OUT_C + c1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
                    }
                    if (count > 1) {
                        const int32_t v0 = aot_requantize(sums[0][1], every_operator_conv2d_2_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][1], every_operator_conv2d_2_multipliers[c1], OUT_ZERO);
                        out[1 * OUT_C + c0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
                        out[1 * OUT_C + c1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
                    }
                }
            }
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}

/* max_pool2d: 1x6x6x2 -> 1x3x3x2
 * from largest
 */
AOT_LAYER static void max_pool2d_3(const int8_t *input, int8_t *output)
{
    enum {
        BATCH = 1, IN_H = 6, IN_W = 6, IN_C = 2, OUT_H = 3, OUT_W = 3, OUT_C = 2, KERNEL_H = 2,
        KERNEL_W = 2, STRIDE_H = 2, STRIDE_W = 2, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 0,
        PAD_LEFT = 0, LOWEST = -128
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t oy = 0; oy < OUT_H; ++oy) {
            const int32_t y_start = oy * STRIDE_H - PAD_TOP;
            const int32_t y_skipped = y_start < 0 ? (DILATION_H - 1 - y_start) / DILATION_H : 0;
            const int32_t y_first = y_start + y_skipped * DILATION_H;
            const int32_t y_span = y_start + KERNEL_H * DILATION_H;
            const int32_t y_end = y_span < IN_H ? y_span : IN_H;
            for (int32_t ox = 0; ox < OUT_W; ++ox) {
                const int32_t x_start = ox * STRIDE_W - PAD_LEFT;
                const int32_t x_skipped = x_start < 0 ? (DILATION_W - 1 - x_start) / DILATION_W : 0;
                const int32_t x_first = x_start + x_skipped * DILATION_W;
                const int32_t x_span = x_start + KERNEL_W * DILATION_W;
                const int32_t x_end = x_span < IN_W ? x_span : IN_W;
                for (int32_t c = 0; c < IN_C; ++c) {
                    int32_t largest = LOWEST;
                    for (int32_t y = y_first; y < y_end; y += DILATION_H) {
                        for (int32_t x = x_first; x < x_end; x += DILATION_W) {
                            const int32_t value = input[(y * IN_W + x) * IN_C + c];
                            largest = value > largest ? value : largest;
                        }
                    }
                    *output++ = (int8_t)largest;
                }
            }
        }
        input += IN_H * IN_W * IN_C;
    }
}

/* average_pool2d: 1x6x6x2 -> 1x3x3x2
 * from mean
 */
AOT_LAYER static void average_pool2d_4(const int8_t *input, int8_t *output)
{
    enum {
        BATCH = 1, IN_H = 6, IN_W = 6, IN_C = 2, OUT_H = 3, OUT_W = 3, OUT_C = 2, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 2, STRIDE_W = 2, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, IN_ZERO = -77, OUT_ZERO = -92, OUT_MIN = -128, OUT_MAX = 127, SHIFT = 0
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t oy = 0; oy < OUT_H; ++oy) {
            const int32_t y_start = oy * STRIDE_H - PAD_TOP;
            const int32_t y_skipped = y_start < 0 ? (DILATION_H - 1 - y_start) / DILATION_H : 0;
            const int32_t y_first = y_start + y_skipped * DILATION_H;
            const int32_t y_span = y_start + KERNEL_H * DILATION_H;
            const int32_t y_end = y_span < IN_H ? y_span : IN_H;
            for (int32_t ox = 0; ox < OUT_W; ++ox) {
                const int32_t x_start = ox * STRIDE_W - PAD_LEFT;
                const int32_t x_skipped = x_start < 0 ? (DILATION_W - 1 - x_start) / DILATION_W : 0;
                const int32_t x_first = x_start + x_skipped * DILATION_W;
                const int32_t x_span = x_start + KERNEL_W * DILATION_W;
                const int32_t x_end = x_span < IN_W ? x_span : IN_W;
                for (int32_t c = 0; c < IN_C; ++c) {
                    int32_t sum = 0;
                    int32_t count = 0;
                    for (int32_t y = y_first; y < y_end; y += DILATION_H) {
                        for (int32_t x = x_first; x < x_end; x += DILATION_W) {
                            sum += input[(y * IN_W + x) * IN_C + c];
                            ++count;
                        }
                    }
                    sum -= count * IN_ZERO;
                    *output++ = aot_clamp(aot_requantize(sum, every_operator_average_pool2d_4_multipliers[count], OUT_ZERO),
                                          OUT_MIN, OUT_MAX);
                }
            }
        }
        input += IN_H * IN_W * IN_C;
    }
}

/* concat: 1x3x3x2 + 1x3x3x2 -> 1x3x3x4
 * from both
 */
AOT_LAYER static void concat_5(const int8_t *input0, const int8_t *input1, int8_t *output)
{
    enum {
        ROWS = 9, OUT_ROW = 4, OUT_ZERO = -92, IN0_ROW = 2, IN0_ZERO = -77, IN0_MULTIPLIER = 1533916933,
        IN0_SHIFT = 0, IN1_ROW = 2
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        for (int32_t i = 0; i < IN0_ROW; ++i) {
            const int32_t value = (input0[i] - IN0_ZERO) * (1 << IN0_SHIFT);
            output[i] = aot_clamp(aot_requantize(value, IN0_MULTIPLIER, OUT_ZERO), -128, 127);
        }
        input0 += IN0_ROW;
        output += IN0_ROW;
        memcpy(output, input1, IN1_ROW);
        input1 += IN1_ROW;
        output += IN1_ROW;
    }
}

/* add: 1x3x3x4 + 4 -> 1x3x3x4
 * from sum
 */
AOT_LAYER static void add_6(const int8_t *a, const int8_t *b, int8_t *output)
{
    enum {
        COUNT_0 = 9, COUNT_1 = 4, A_STRIDE_0 = 4, A_STRIDE_1 = 1, B_STRIDE_0 = 0, B_STRIDE_1 = 1,
        A_MULTIPLIER = 19115, B_MULTIPLIER = 10923, CONSTANT = 1421343, SHIFT = 13, OUT_MIN = -128,
        OUT_MAX = 127
    };
    for (int32_t i0 = 0; i0 < COUNT_0; ++i0) {
        for (int32_t i1 = 0; i1 < COUNT_1; ++i1) {
            const int32_t x = a[i0 * A_STRIDE_0 + i1 * A_STRIDE_1];
            const int32_t y = b[i0 * B_STRIDE_0 + i1 * B_STRIDE_1];
            const int32_t sum = x * A_MULTIPLIER + y * B_MULTIPLIER + CONSTANT;
            *output++ = aot_clamp(sum >> SHIFT, OUT_MIN, OUT_MAX);
        }
    }
}

/* unary: 1x3x3x4 -> 1x3x3x4
 * from tanh
 */
AOT_LAYER static void unary_7(const int8_t *input, int8_t *output)
{
    enum {
        LENGTH = 36, LOWEST = -128
    };
    for (int32_t i = 0; i < LENGTH; ++i) {
        output[i] = every_operator_unary_7_table[input[i] - LOWEST];
    }
}

/* transpose: 1x3x3x4 -> 1x4x3x3
 * from map
 */
AOT_LAYER static void transpose_8(const int8_t *input, int8_t *output)
{
    enum {
        COUNT_0 = 4, COUNT_1 = 9, IN_STRIDE_0 = 1, IN_STRIDE_1 = 4
    };
    for (int32_t i0 = 0; i0 < COUNT_0; ++i0) {
        for (int32_t i1 = 0; i1 < COUNT_1; ++i1) {
            *output++ = input[i0 * IN_STRIDE_0 + i1 * IN_STRIDE_1];
        }
    }
}

/* slice: 1x3x3x4 -> 1x3x3x2
 * from part
 */
AOT_LAYER static void slice_9(const int8_t *input, int8_t *output)
{
    enum {
        COUNT_0 = 18, IN_STRIDE_0 = 2, FIRST = 1
    };
    for (int32_t i0 = 0; i0 < COUNT_0; ++i0) {
        *output++ = input[FIRST + i0 * IN_STRIDE_0];
    }
}

/* fully_connected: 1x18 -> 1x5
 * from scores
 */
AOT_LAYER static void fully_connected_10(const int8_t *input, int8_t *output)
{
    enum {
        ROWS = 1, IN_LENGTH = 18, OUT_LENGTH = 5, OUT_ZERO = -100, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        for (int32_t o0 = 0; o0 < OUT_LENGTH; o0 += 2) {
            const int32_t o1 = o0 + 1 < OUT_LENGTH ? o0 + 1 : o0; /* an odd last output is its own partner */
            int32_t sums[2] = { every_operator_fully_connected_10_bias[o0], every_operator_fully_connected_10_bias[o1] };
            aot_row_dot(input, every_operator_fully_connected_10_weights + o0 * IN_LENGTH,
                        every_operator_fully_connected_10_weights + o1 * IN_LENGTH, IN_LENGTH, sums);
            const int32_t v0 = aot_requantize(sums[0], every_operator_fully_connected_10_multipliers[o0], OUT_ZERO);
            const int32_t v1 = aot_requantize(sums[1], every_operator_fully_connected_10_multipliers[o1], OUT_ZERO);
            output[o0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
            output[o1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
        }
        input += IN_LENGTH;
        output += OUT_LENGTH;
    }
}

/* softmax: 1x5 -> 1x5
 * from answer
 */
AOT_LAYER static void softmax_11(const int8_t *input, int8_t *output)
{
    enum {
        ROWS = 1, LENGTH = 5, OUT_STEPS = 256, OUT_ZERO = -128, OUT_MAX = 127
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        int32_t largest = input[0];
        for (int32_t i = 1; i < LENGTH; ++i) {
            largest = input[i] > largest ? input[i] : largest;
        }
        uint32_t total = 0;
        for (int32_t i = 0; i < LENGTH; ++i) {
            total += every_operator_softmax_11_exponentials[largest - input[i]];
        }
        for (int32_t i = 0; i < LENGTH; ++i) {
            const uint32_t part = (uint32_t)every_operator_softmax_11_exponentials[largest - input[i]] * OUT_STEPS;
            const int32_t value = OUT_ZERO + (int32_t)((part + total / 2u) / total);
            output[i] = (int8_t)(value < OUT_MAX ? value : OUT_MAX);
        }
        input += LENGTH;
        output += LENGTH;
    }
}

int every_operator_run(void *arena, const int8_t *input_image, const int8_t *input_gain, int8_t *output_map, int8_t *output_answer)
{
    if (arena == NULL || (uintptr_t)arena % every_operator_ARENA_ALIGN != 0u) {
        return 1;
    }
    if (input_image == NULL) {
        return 1;
    }
    if (input_gain == NULL) {
        return 1;
    }
    if (output_map == NULL) {
        return 1;
    }
    if (output_answer == NULL) {
        return 1;
    }

    /* where each tensor and each layer's working memory lies in the arena; they overlap where their lifetimes allow */
    int8_t *const memory = arena;
    void *const scratch_2 = memory + 0; /* 108 bytes */
    int8_t *const tensor_0 = memory + 0; /* 48 bytes */
    int8_t *const tensor_1 = memory + 124; /* 108 bytes */
    int8_t *const tensor_2 = memory + 108; /* 72 bytes */
    int8_t *const tensor_3 = memory + 56; /* 18 bytes */
    int8_t *const tensor_4 = memory + 36; /* 18 bytes */
    int8_t *const tensor_5 = memory + 0; /* 36 bytes */
    int8_t *const tensor_6 = memory + 36; /* 36 bytes */
    int8_t *const tensor_7 = memory + 0; /* 36 bytes */
    int8_t *const tensor_8 = memory + 8; /* 18 bytes */
    int8_t *const tensor_9 = memory + 0; /* 5 bytes */

    mul_0(input_image, input_gain, tensor_0);
    pad_1(tensor_0, tensor_1);
    conv2d_2(tensor_1, tensor_2, scratch_2);
    max_pool2d_3(tensor_2, tensor_3);
    average_pool2d_4(tensor_2, tensor_4);
    concat_5(tensor_3, tensor_4, tensor_5);
    add_6(tensor_5, every_operator_add_6_input1, tensor_6);
    unary_7(tensor_6, tensor_7);
    transpose_8(tensor_7, output_map);
    slice_9(tensor_6, tensor_8);
    fully_connected_10(tensor_8, tensor_9);
    softmax_11(tensor_9, output_answer);
    return 0;
}
