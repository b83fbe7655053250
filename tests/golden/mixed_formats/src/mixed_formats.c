/* mixed_formats: layers in order of execution, then the function that runs them. */
#include "mixed_formats.h"

#include <stddef.h>

#include "aot_float.h"
#include "aot_nibble.h"
#include "aot_simd_c99.h"
#include "aot_wide.h"
#include "mixed_formats_weights.h"

#if AOT_RUNTIME_VERSION != 1
#error "aot_fixed.h is of another version than mixed_formats.c: regenerate both"
#endif

/* conv2d: 1x4x4x3 -> 1x4x4x4
 * from nibbles
 */
AOT_LAYER static void conv2d_0(const int8_t *input, int8_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 4, IN_W = 4, IN_C = 3, OUT_H = 4, OUT_W = 4, OUT_C = 4, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 3, GROUP_OUT_C = 4, PIXELS = 16, DEPTH = 27, BLOCKS = 4,
        PAIRS = 2, IN_ZERO = -128, OUT_ZERO = -100, OUT_MIN = -128, OUT_MAX = 127, SHIFT = 0
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t group = 0; group < GROUPS; ++group) {
            for (int32_t first = 0; first < PIXELS; first += 2) {
                const int32_t second = first + 1 < PIXELS ? 1 : 0; /* an odd last pixel is its own partner */
                uint32_t excess[2];
                for (int32_t p = 0; p < 2; ++p) {
                    const int32_t top = (first + p * second) / OUT_W * STRIDE_H - PAD_TOP;
                    const int32_t left = (first + p * second) % OUT_W * STRIDE_W - PAD_LEFT;
                    int16_t *to = tile + p * 8 * BLOCKS;
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int32_t y = top + ky * DILATION_H;
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int32_t x = left + kx * DILATION_W;
                            if (y >= 0 && y < IN_H && x >= 0 && x < IN_W) {
                                const int8_t *from = input + (y * IN_W + x) * IN_C + group * GROUP_IN_C;
                                aot_nibble_widen(to, from, GROUP_IN_C);
                            } else {
                                aot_nibble_fill(to, IN_ZERO, GROUP_IN_C);
                            }
                            to += GROUP_IN_C;
                        }
                    }
                    aot_nibble_fill(to, 0, BLOCKS * 8 - DEPTH);
                    excess[p] = aot_nibble_excess(tile + p * 8 * BLOCKS, 8 * BLOCKS);
                }
                for (int32_t c = 0; c < GROUP_OUT_C; c += 2) {
                    const int32_t c0 = group * GROUP_OUT_C + c;
                    const int32_t c1 = c + 1 < GROUP_OUT_C ? c0 + 1 : c0; /* and so is an odd last channel */
                    int8_t *out0 = output + first * OUT_C;
                    int8_t *out1 = out0 + second * OUT_C;
                    const uint32_t bias0 = (uint32_t)mixed_formats_conv2d_0_bias[c0];
                    const uint32_t bias1 = (uint32_t)mixed_formats_conv2d_0_bias[c1];
                    uint32_t sums[2][2] = { { bias0 - excess[0], bias0 - excess[1] }, { bias1 - excess[0], bias1 - excess[1] } };
                    aot_nibble_dot(tile, tile + 8 * BLOCKS, mixed_formats_conv2d_0_weights + (group * PAIRS + c / 2) * 8 * BLOCKS, BLOCKS, sums);
                    const int32_t v00 = aot_requantize((int32_t)sums[0][0], mixed_formats_conv2d_0_multipliers[c0], OUT_ZERO);
                    const int32_t v01 = aot_requantize((int32_t)sums[0][1], mixed_formats_conv2d_0_multipliers[c0], OUT_ZERO);
                    const int32_t v10 = aot_requantize((int32_t)sums[1][0], mixed_formats_conv2d_0_multipliers[c1], OUT_ZERO);
                    const int32_t v11 = aot_requantize((int32_t)sums[1][1], mixed_formats_conv2d_0_multipliers[c1], OUT_ZERO);
                    out0[c0] = aot_clamp(v00, OUT_MIN, OUT_MAX);
                    out1[c0] = aot_clamp(v01, OUT_MIN, OUT_MAX);
                    out0[c1] = aot_clamp(v10, OUT_MIN, OUT_MAX);
                    out1[c1] = aot_clamp(v11, OUT_MIN, OUT_MAX);
                }
            }
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}

/* quantize: 1x4x4x4 -> 1x4x4x4
 */
AOT_LAYER static void quantize_1(const int8_t *input, int16_t *output)
{
    enum {
        LENGTH = 64, IN_ZERO = -100, MULTIPLIER = 1777743438, SHIFT = 8, OUT_ZERO = 0, OUT_MIN = -24018,
        OUT_MAX = 24018
    };
    for (int32_t i = 0; i < LENGTH; ++i) {
        const int32_t value = (input[i] - IN_ZERO) * (1 << SHIFT);
        output[i] = aot_clamp16(aot_requantize(value, MULTIPLIER, OUT_ZERO), OUT_MIN, OUT_MAX);
    }
}

/* conv2d: 1x4x4x4 -> 1x4x4x3
 * from wide
 */
AOT_LAYER static void conv2d_2(const int16_t *input, int16_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 4, IN_W = 4, IN_C = 4, OUT_H = 4, OUT_W = 4, OUT_C = 3, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 4, GROUP_OUT_C = 3, PIXELS = 16, DEPTH = 36, IN_ZERO = 0,
        OUT_ZERO = 0, OUT_MIN = -32768, OUT_MAX = 32767, SHIFT = 0
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t group = 0; group < GROUPS; ++group) {
            for (int32_t first = 0; first < PIXELS; first += 2) {
                const int32_t second = first + 1 < PIXELS ? 1 : 0; /* an odd last pixel is its own partner */
                const int16_t *pixel0 = tile;
                const int16_t *pixel1 = tile + DEPTH;
                int16_t *to = tile;
                for (int32_t p = 0; p < 2; ++p) {
                    const int32_t top = (first + p * second) / OUT_W * STRIDE_H - PAD_TOP;
                    const int32_t left = (first + p * second) % OUT_W * STRIDE_W - PAD_LEFT;
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int32_t y = top + ky * DILATION_H;
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int32_t x = left + kx * DILATION_W;
                            if (y >= 0 && y < IN_H && x >= 0 && x < IN_W) {
                                const int16_t *from = input + (y * IN_W + x) * IN_C + group * GROUP_IN_C;
                                memcpy(to, from, GROUP_IN_C * sizeof *to);
                            } else {
                                memset(to, 0, GROUP_IN_C * sizeof *to);
                            }
                            to += GROUP_IN_C;
                        }
                    }
                }
                for (int32_t c = 0; c < GROUP_OUT_C; c += 2) {
                    const int32_t c0 = group * GROUP_OUT_C + c;
                    const int32_t c1 = c + 1 < GROUP_OUT_C ? c0 + 1 : c0; /* and so is an odd last channel */
                    int16_t *out0 = output + first * OUT_C;
                    int16_t *out1 = out0 + second * OUT_C;
                    int32_t sums[2][2] = { { mixed_formats_conv2d_2_bias[c0], mixed_formats_conv2d_2_bias[c0] }, { mixed_formats_conv2d_2_bias[c1], mixed_formats_conv2d_2_bias[c1] } };
                    aot_pixel_dot16(pixel0, pixel1, mixed_formats_conv2d_2_weights + c0 * DEPTH, mixed_formats_conv2d_2_weights + c1 * DEPTH, DEPTH, sums);
                    const int32_t v00 = aot_requantize(sums[0][0], mixed_formats_conv2d_2_multipliers[c0], OUT_ZERO);
                    const int32_t v01 = aot_requantize(sums[0][1], mixed_formats_conv2d_2_multipliers[c0], OUT_ZERO);
                    const int32_t v10 = aot_requantize(sums[1][0], mixed_formats_conv2d_2_multipliers[c1], OUT_ZERO);
                    const int32_t v11 = aot_requantize(sums[1][1], mixed_formats_conv2d_2_multipliers[c1], OUT_ZERO);
                    out0[c0] = aot_clamp16(v00, OUT_MIN, OUT_MAX);
                    out1[c0] = aot_clamp16(v01, OUT_MIN, OUT_MAX);
                    out0[c1] = aot_clamp16(v10, OUT_MIN, OUT_MAX);
                    out1[c1] = aot_clamp16(v11, OUT_MIN, OUT_MAX);
                }
            }
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}

/* unary: 1x4x4x3 -> 1x4x4x3
 * from tanh
 */
AOT_LAYER static void unary_3(const int16_t *input, int16_t *output)
{
    enum {
        LENGTH = 48, LOWEST = -32768, STEP = 128, STEP_BITS = 7
    };
    /* between two entries of the table the function is taken to be straight */
    for (int32_t i = 0; i < LENGTH; ++i) {
        const int32_t place = input[i] - LOWEST;
        const int16_t *entry = mixed_formats_unary_3_table + place / STEP;
        const int32_t rise = (entry[1] - entry[0]) * (place % STEP);
        output[i] = (int16_t)(entry[0] + ((rise + STEP / 2) >> STEP_BITS));
    }
}

/* quantize: 1x4x4x3 -> 1x4x4x3
 */
AOT_LAYER static void quantize_4(const int16_t *input, float *output)
{
    enum {
        LENGTH = 48, IN_ZERO = 0
    };
    const float SCALE = 3.051851e-05f;
    for (int32_t i = 0; i < LENGTH; ++i) {
        output[i] = SCALE * (float)(input[i] - IN_ZERO);
    }
}

/* softmax: 1x4x4x3 -> 1x4x4x3
 * from f_loat
 */
AOT_LAYER static void softmax_5(const float *input, float *output)
{
    enum {
        ROWS = 16, LENGTH = 3
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        float largest = input[0];
        for (int32_t i = 1; i < LENGTH; ++i) {
            largest = aot_at_least(input[i], largest);
        }
        float total = 0.0f;
        for (int32_t i = 0; i < LENGTH; ++i) {
            output[i] = aot_exp(input[i] - largest);
            total += output[i];
        }
        for (int32_t i = 0; i < LENGTH; ++i) {
            output[i] = output[i] / total;
        }
        input += LENGTH;
        output += LENGTH;
    }
}

/* quantize: 1x4x4x3 -> 1x4x4x3
 */
AOT_LAYER static void quantize_6(const float *input, int8_t *output)
{
    enum {
        LENGTH = 48, OUT_ZERO = -77, OUT_MIN = -128, OUT_MAX = 127
    };
    const float SCALE = 4.901961e-03f;
    for (int32_t i = 0; i < LENGTH; ++i) {
        output[i] = aot_clamp(aot_round(input[i] / SCALE + 0.5f) + OUT_ZERO, OUT_MIN, OUT_MAX);
    }
}

/* fully_connected: 1x48 -> 1x5
 * from scores
 */
AOT_LAYER static void fully_connected_7(const int8_t *input, int8_t *output)
{
    enum {
        ROWS = 1, IN_LENGTH = 48, OUT_LENGTH = 5, OUT_ZERO = -128, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        for (int32_t o0 = 0; o0 < OUT_LENGTH; o0 += 2) {
            const int32_t o1 = o0 + 1 < OUT_LENGTH ? o0 + 1 : o0; /* an odd last output is its own partner */
            int32_t sums[2] = { mixed_formats_fully_connected_7_bias[o0], mixed_formats_fully_connected_7_bias[o1] };
            aot_row_dot(input, mixed_formats_fully_connected_7_weights + o0 * IN_LENGTH,
                        mixed_formats_fully_connected_7_weights + o1 * IN_LENGTH, IN_LENGTH, sums);
            const int32_t v0 = aot_requantize(sums[0], mixed_formats_fully_connected_7_multipliers[o0], OUT_ZERO);
            const int32_t v1 = aot_requantize(sums[1], mixed_formats_fully_connected_7_multipliers[o1], OUT_ZERO);
            output[o0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
            output[o1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
        }
        input += IN_LENGTH;
        output += OUT_LENGTH;
    }
}

int mixed_formats_run(void *arena, const int8_t *input, int8_t *output)
{
    if (arena == NULL || (uintptr_t)arena % mixed_formats_ARENA_ALIGN != 0u) {
        return 1;
    }
    if (input == NULL) {
        return 1;
    }
    if (output == NULL) {
        return 1;
    }

    /* where each tensor and each layer's working memory lies in the arena; they overlap where their lifetimes allow */
    int8_t *const memory = arena;
    void *const scratch_0 = memory + 0; /* 128 bytes */
    void *const scratch_2 = memory + 0; /* 144 bytes */
    int8_t *const tensor_0 = memory + 236; /* 64 bytes */
    int16_t *const tensor_1 = (void *)(memory + 172); /* 128 bytes */
    int16_t *const tensor_2 = (void *)(memory + 144); /* 96 bytes */
    int16_t *const tensor_3 = (void *)(memory + 96); /* 96 bytes */
    float *const tensor_4 = (void *)(memory + 0); /* 192 bytes */
    float *const tensor_5 = (void *)(memory + 0); /* 192 bytes */
    int8_t *const tensor_6 = memory + 0; /* 48 bytes */

    conv2d_0(input, tensor_0, scratch_0);
    quantize_1(tensor_0, tensor_1);
    conv2d_2(tensor_1, tensor_2, scratch_2);
    unary_3(tensor_2, tensor_3);
    quantize_4(tensor_3, tensor_4);
    softmax_5(tensor_4, tensor_5);
    quantize_6(tensor_5, tensor_6);
    fully_connected_7(tensor_6, output);
    return 0;
}
