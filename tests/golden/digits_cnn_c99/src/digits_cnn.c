/* digits_cnn: layers in order of execution, then the function that runs them. */
#include "digits_cnn.h"

#include <stddef.h>

#include "aot_simd_c99.h"
#include "aot_vector.h"
#include "digits_cnn_weights.h"

#if AOT_RUNTIME_VERSION != 1
#error "aot_fixed.h is of another version than digits_cnn.c: regenerate both"
#endif
/* conv2d: 1x28x28x1 -> 1x28x28x8
 * from node_Conv_81 + node_relu
 */
AOT_LAYER static void conv2d_0(const int8_t *input, int8_t *output, aot_raised *tile)
{
    enum {
        BATCH = 1, IN_H = 28, IN_W = 28, IN_C = 1, OUT_H = 28, OUT_W = 28, OUT_C = 8, PIXELS = 784,
        KERNEL_H = 3, KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1,
        PAD_TOP = 1, PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 1, IN_ZERO = -128, GROUP_OUT_C = 8, DEPTH = 9,
        OUT_ZERO = -92, OUT_MIN = -92, OUT_MAX = 127, SHIFT = 0, PADDED = 32, TILE = 8, LANES = 8,
        CONTIGUOUS = 0, WHOLE_ROWS = 1
    };
    memset(tile, 0, TILE * PADDED * sizeof *tile);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t group = 0; group < GROUPS; ++group) {
            for (int32_t first = 0; first < PIXELS; first += TILE) {
                const int32_t count = PIXELS - first < TILE ? PIXELS - first : TILE;
                for (int32_t p = 0; p < TILE; ++p) { /* a last, partial tile repeats its first pixel */
                    const int32_t pixel = p < count ? first + p : first;
                    const int32_t top = pixel / OUT_W * STRIDE_H - PAD_TOP;
                    const int32_t left = pixel % OUT_W * STRIDE_W - PAD_LEFT;
                    aot_raised *to = tile + p * PADDED;
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int32_t y = top + ky * DILATION_H;
                        if (y >= 0 && y < IN_H && left >= 0 && left + KERNEL_W <= IN_W) {
                            aot_raise(to, input + (y * IN_W + left) * IN_C, KERNEL_W * IN_C);
                            to += KERNEL_W * IN_C;
                            continue;
                        }
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int32_t x = left + kx * DILATION_W;
                            if (y >= 0 && y < IN_H && x >= 0 && x < IN_W) {
                                aot_raise(to, input + (y * IN_W + x) * IN_C + group * GROUP_IN_C, GROUP_IN_C);
                            } else {
                                aot_raise_fill(to, IN_ZERO, GROUP_IN_C);
                            }
                            to += GROUP_IN_C;
                        }
                    }
                }
                /* some channels at a time; the last ones may be computed twice */
                for (int32_t c = 0; c < GROUP_OUT_C; c += LANES) {
                    const int32_t c0 = (c + LANES <= GROUP_OUT_C ? c : GROUP_OUT_C - LANES) + group * GROUP_OUT_C;
                    int32_t sums[TILE][LANES];
                    for (int32_t i = 0; i < LANES; ++i) {
                        const int8_t *row = digits_cnn_conv2d_0_weights + (c0 + i) * PADDED;
                        for (int32_t p = 0; p < TILE; p += 4) {
                            int32_t four[4];
                            aot_dot_4(four, digits_cnn_conv2d_0_bias[c0 + i], tile + p * PADDED, row, PADDED);
                            sums[p][i] = four[0];
                            sums[p + 1][i] = four[1];
                            sums[p + 2][i] = four[2];
                            sums[p + 3][i] = four[3];
                        }
                    }
                    for (int32_t p = 0; p < count; ++p) {
                        int8_t row[LANES];
                        aot_requantize_row(row, sums[p], digits_cnn_conv2d_0_multipliers + c0, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
                        memcpy(output + (first + p) * OUT_C + c0, row, LANES);
                    }
                }
}
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}
/* max_pool2d: 1x28x28x8 -> 1x14x14x8
 * from node_max_pool2d
 */
AOT_LAYER static void max_pool2d_1(const int8_t *input, int8_t *output)
{
    enum {
        BATCH = 1, IN_H = 28, IN_W = 28, IN_C = 8, OUT_H = 14, OUT_W = 14, OUT_C = 8, KERNEL_H = 2,
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
/* depthwise_conv2d: 1x14x14x8 -> 1x14x14x8
 * from node_Conv_83 + node_relu_1
 */
AOT_LAYER static void depthwise_conv2d_2(const int8_t *input, int8_t *output, int8_t *lines)
{
    enum {
        BATCH = 1, IN_H = 14, IN_W = 14, IN_C = 8, OUT_H = 14, OUT_W = 14, OUT_C = 8, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, COPY_W = 14, FILTERS = 1, IN_ZERO = -92, OUT_ZERO = -77, OUT_MIN = -77,
        OUT_MAX = 127, SHIFT = 0, EXTENT_H = 3, LINES = 3, PHASE = 128, LINE = 128, UNIT_W = 8, UNIT = 64,
        LANES = 64, PLAIN = 1
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        int32_t ready = 0; /* rows of the padded input which have been copied */
        for (int32_t y = 0; y < OUT_H; ++y) {
            for (; ready < y * STRIDE_H + EXTENT_H; ++ready) {
                int8_t *line = lines + ready % LINES * LINE;
                memset(line, IN_ZERO, LINE);
                if (ready >= PAD_TOP && ready < PAD_TOP + IN_H) {
                    const int8_t *from = input + (ready - PAD_TOP) * IN_W * IN_C;
                    memcpy(line + PAD_LEFT * OUT_C, from, COPY_W * IN_C);
                }
            }
            for (int32_t x = 0; x < OUT_W; x += UNIT_W) {
                /* the last pixels of a row, and the last lanes of a unit, may be computed twice */
                const int32_t first = (x + UNIT_W <= OUT_W ? x : OUT_W - UNIT_W) * OUT_C;
                for (int32_t lane = 0; lane < UNIT; lane += LANES) {
                    const int32_t c = lane + LANES <= UNIT ? lane : UNIT - LANES;
                    int32_t sums[LANES];
                    int8_t results[LANES];
                    for (int32_t i = 0; i < LANES; ++i) {
                        sums[i] = digits_cnn_depthwise_conv2d_2_bias[c + i];
                    }
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int8_t *line = lines + (y * STRIDE_H + ky * DILATION_H) % LINES * LINE + first + c;
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int8_t *from = line + kx * DILATION_W % STRIDE_W * PHASE + kx * DILATION_W / STRIDE_W * OUT_C;
                            const int8_t *weights = digits_cnn_depthwise_conv2d_2_weights + (ky * KERNEL_W + kx) * UNIT + c;
                            for (int32_t i = 0; i < LANES; ++i) {
                                sums[i] += from[i] * weights[i];
                            }
                        }
                    }
                    aot_requantize_row(results, sums, digits_cnn_depthwise_conv2d_2_multipliers + c, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
                    memcpy(output + y * OUT_W * OUT_C + first + c, results, LANES);
                }
            }
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}
/* conv2d: 1x14x14x8 -> 1x14x14x24
 * from node_Conv_85 + node_relu_2
 */
AOT_LAYER static void conv2d_3(const int8_t *input, int8_t *output, aot_raised *tile)
{
    enum {
        PIXELS = 196, IN_C = 8, OUT_C = 24, GROUP_OUT_C = 24, DEPTH = 8, OUT_ZERO = -77, OUT_MIN = -77,
        OUT_MAX = 127, SHIFT = 0, PADDED = 32, TILE = 8, LANES = 24, CONTIGUOUS = 1, WHOLE_ROWS = 1
    };
    memset(tile, 0, TILE * PADDED * sizeof *tile);
    for (int32_t first = 0; first < PIXELS; first += TILE) {
        const int32_t count = PIXELS - first < TILE ? PIXELS - first : TILE;
        for (int32_t p = 0; p < TILE; ++p) { /* a last, partial tile repeats its first pixel */
            aot_raise(tile + p * PADDED, input + (p < count ? first + p : first) * IN_C, IN_C);
        }
        /* some channels at a time; the last ones may be computed twice */
        for (int32_t c = 0; c < GROUP_OUT_C; c += LANES) {
            const int32_t c0 = (c + LANES <= GROUP_OUT_C ? c : GROUP_OUT_C - LANES);
            int32_t sums[TILE][LANES];
            for (int32_t i = 0; i < LANES; ++i) {
                const int8_t *row = digits_cnn_conv2d_3_weights + (c0 + i) * PADDED;
                for (int32_t p = 0; p < TILE; p += 4) {
                    int32_t four[4];
                    aot_dot_4(four, digits_cnn_conv2d_3_bias[c0 + i], tile + p * PADDED, row, PADDED);
                    sums[p][i] = four[0];
                    sums[p + 1][i] = four[1];
                    sums[p + 2][i] = four[2];
                    sums[p + 3][i] = four[3];
                }
            }
            for (int32_t p = 0; p < count; ++p) {
                int8_t row[LANES];
                aot_requantize_row(row, sums[p], digits_cnn_conv2d_3_multipliers + c0, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
                memcpy(output + (first + p) * OUT_C + c0, row, LANES);
            }
        }
}
}
/* max_pool2d: 1x14x14x24 -> 1x7x7x24
 * from node_max_pool2d_1
 */
AOT_LAYER static void max_pool2d_4(const int8_t *input, int8_t *output)
{
    enum {
        BATCH = 1, IN_H = 14, IN_W = 14, IN_C = 24, OUT_H = 7, OUT_W = 7, OUT_C = 24, KERNEL_H = 2,
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
/* depthwise_conv2d: 1x7x7x24 -> 1x7x7x24
 * from node_Conv_87 + node_relu_3
 */
AOT_LAYER static void depthwise_conv2d_5(const int8_t *input, int8_t *output, int8_t *lines)
{
    enum {
        BATCH = 1, IN_H = 7, IN_W = 7, IN_C = 24, OUT_H = 7, OUT_W = 7, OUT_C = 24, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, COPY_W = 7, FILTERS = 1, IN_ZERO = -77, OUT_ZERO = -113, OUT_MIN = -113,
        OUT_MAX = 127, SHIFT = 0, EXTENT_H = 3, LINES = 3, PHASE = 216, LINE = 216, UNIT_W = 2, UNIT = 48,
        LANES = 48, PLAIN = 1
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        int32_t ready = 0; /* rows of the padded input which have been copied */
        for (int32_t y = 0; y < OUT_H; ++y) {
            for (; ready < y * STRIDE_H + EXTENT_H; ++ready) {
                int8_t *line = lines + ready % LINES * LINE;
                memset(line, IN_ZERO, LINE);
                if (ready >= PAD_TOP && ready < PAD_TOP + IN_H) {
                    const int8_t *from = input + (ready - PAD_TOP) * IN_W * IN_C;
                    memcpy(line + PAD_LEFT * OUT_C, from, COPY_W * IN_C);
                }
            }
            for (int32_t x = 0; x < OUT_W; x += UNIT_W) {
                /* the last pixels of a row, and the last lanes of a unit, may be computed twice */
                const int32_t first = (x + UNIT_W <= OUT_W ? x : OUT_W - UNIT_W) * OUT_C;
                for (int32_t lane = 0; lane < UNIT; lane += LANES) {
                    const int32_t c = lane + LANES <= UNIT ? lane : UNIT - LANES;
                    int32_t sums[LANES];
                    int8_t results[LANES];
                    for (int32_t i = 0; i < LANES; ++i) {
                        sums[i] = digits_cnn_depthwise_conv2d_5_bias[c + i];
                    }
                    for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                        const int8_t *line = lines + (y * STRIDE_H + ky * DILATION_H) % LINES * LINE + first + c;
                        for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                            const int8_t *from = line + kx * DILATION_W % STRIDE_W * PHASE + kx * DILATION_W / STRIDE_W * OUT_C;
                            const int8_t *weights = digits_cnn_depthwise_conv2d_5_weights + (ky * KERNEL_W + kx) * UNIT + c;
                            for (int32_t i = 0; i < LANES; ++i) {
                                sums[i] += from[i] * weights[i];
                            }
                        }
                    }
                    aot_requantize_row(results, sums, digits_cnn_depthwise_conv2d_5_multipliers + c, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
                    memcpy(output + y * OUT_W * OUT_C + first + c, results, LANES);
                }
            }
        }
        input += IN_H * IN_W * IN_C;
        output += OUT_H * OUT_W * OUT_C;
    }
}
/* conv2d: 1x7x7x24 -> 1x7x7x48
 * from node_Conv_89 + node_relu_4
 */
AOT_LAYER static void conv2d_6(const int8_t *input, int8_t *output, aot_raised *tile)
{
    enum {
        PIXELS = 49, IN_C = 24, OUT_C = 48, GROUP_OUT_C = 48, DEPTH = 24, OUT_ZERO = -43, OUT_MIN = -43,
        OUT_MAX = 127, SHIFT = 0, PADDED = 32, TILE = 4, LANES = 48, CONTIGUOUS = 1, WHOLE_ROWS = 1
    };
    memset(tile, 0, TILE * PADDED * sizeof *tile);
    for (int32_t first = 0; first < PIXELS; first += TILE) {
        const int32_t count = PIXELS - first < TILE ? PIXELS - first : TILE;
        for (int32_t p = 0; p < TILE; ++p) { /* a last, partial tile repeats its first pixel */
            aot_raise(tile + p * PADDED, input + (p < count ? first + p : first) * IN_C, IN_C);
        }
        /* some channels at a time; the last ones may be computed twice */
        for (int32_t c = 0; c < GROUP_OUT_C; c += LANES) {
            const int32_t c0 = (c + LANES <= GROUP_OUT_C ? c : GROUP_OUT_C - LANES);
            int32_t sums[TILE][LANES];
            for (int32_t i = 0; i < LANES; ++i) {
                const int8_t *row = digits_cnn_conv2d_6_weights + (c0 + i) * PADDED;
                for (int32_t p = 0; p < TILE; p += 4) {
                    int32_t four[4];
                    aot_dot_4(four, digits_cnn_conv2d_6_bias[c0 + i], tile + p * PADDED, row, PADDED);
                    sums[p][i] = four[0];
                    sums[p + 1][i] = four[1];
                    sums[p + 2][i] = four[2];
                    sums[p + 3][i] = four[3];
                }
            }
            for (int32_t p = 0; p < count; ++p) {
                int8_t row[LANES];
                aot_requantize_row(row, sums[p], digits_cnn_conv2d_6_multipliers + c0, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
                memcpy(output + (first + p) * OUT_C + c0, row, LANES);
            }
        }
}
}
/* average_pool2d: 1x7x7x48 -> 1x1x1x48
 * from node_mean
 */
AOT_LAYER static void average_pool2d_7(const int8_t *input, int8_t *output)
{
    enum {
        BATCH = 1, IN_H = 7, IN_W = 7, IN_C = 48, OUT_H = 1, OUT_W = 1, OUT_C = 48, KERNEL_H = 7,
        KERNEL_W = 7, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 0,
        PAD_LEFT = 0, IN_ZERO = -43, OUT_ZERO = -128, OUT_MIN = -128, OUT_MAX = 127, SHIFT = 0
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
                    *output++ = aot_clamp(aot_requantize(sum, digits_cnn_average_pool2d_7_multipliers[count], OUT_ZERO),
                                          OUT_MIN, OUT_MAX);
                }
}
        }
        input += IN_H * IN_W * IN_C;
    }
}
/* fully_connected: 1x48 -> 1x10
 * from node_linear
 */
AOT_LAYER static void fully_connected_8(const int8_t *input, int8_t *output, aot_raised *raised)
{
    enum {
        ROWS = 1, IN_LENGTH = 48, OUT_LENGTH = 10, OUT_ZERO = -100, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0, PADDED = 64, LANES = 10
    };
    memset(raised, 0, PADDED * sizeof *raised);
    for (int32_t row = 0; row < ROWS; ++row) {
        aot_raise(raised, input, IN_LENGTH);
        /* some outputs at a time; the last ones may be computed twice */
        for (int32_t o = 0; o < OUT_LENGTH; o += LANES) {
            const int32_t o0 = o + LANES <= OUT_LENGTH ? o : OUT_LENGTH - LANES;
            int32_t sums[LANES];
            int8_t results[LANES];
            for (int32_t i = 0; i < LANES; ++i) {
                sums[i] = aot_dot(digits_cnn_fully_connected_8_bias[o0 + i], raised, digits_cnn_fully_connected_8_weights + (o0 + i) * PADDED, PADDED);
            }
            aot_requantize_row(results, sums, digits_cnn_fully_connected_8_multipliers + o0, LANES, OUT_ZERO, OUT_MIN, OUT_MAX);
            memcpy(output + o0, results, LANES);
        }
        input += IN_LENGTH;
        output += OUT_LENGTH;
    }
}
/* softmax: 1x10 -> 1x10
 * from node_softmax
 */
AOT_LAYER static void softmax_9(const int8_t *input, int8_t *output)
{
    enum {
        ROWS = 1, LENGTH = 10, OUT_STEPS = 256, OUT_ZERO = -128, OUT_MAX = 127
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        int32_t largest = input[0];
        for (int32_t i = 1; i < LENGTH; ++i) {
            largest = input[i] > largest ? input[i] : largest;
        }
        uint32_t total = 0;
        for (int32_t i = 0; i < LENGTH; ++i) {
            total += digits_cnn_softmax_9_exponentials[largest - input[i]];
        }
        for (int32_t i = 0; i < LENGTH; ++i) {
            const uint32_t part = (uint32_t)digits_cnn_softmax_9_exponentials[largest - input[i]] * OUT_STEPS;
            const int32_t value = OUT_ZERO + (int32_t)((part + total / 2u) / total);
            output[i] = (int8_t)(value < OUT_MAX ? value : OUT_MAX);
        }
        input += LENGTH;
        output += LENGTH;
    }
}
int digits_cnn_run(void *arena, const int8_t *input, int8_t *output)
{
    if (arena == NULL || (uintptr_t)arena % digits_cnn_ARENA_ALIGN != 0u) {
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
    void *const scratch_0 = memory + 6272; /* 512 bytes */
    void *const scratch_2 = memory + 0; /* 384 bytes */
    void *const scratch_3 = memory + 4704; /* 512 bytes */
    void *const scratch_5 = memory + 0; /* 648 bytes */
    void *const scratch_6 = memory + 2352; /* 256 bytes */
    void *const scratch_8 = memory + 0; /* 128 bytes */
    int8_t *const tensor_0 = memory + 0; /* 6272 bytes */
    int8_t *const tensor_1 = memory + 6272; /* 1568 bytes */
    int8_t *const tensor_2 = memory + 3072; /* 1568 bytes */
    int8_t *const tensor_3 = memory + 0; /* 4704 bytes */
    int8_t *const tensor_4 = memory + 4704; /* 1176 bytes */
    int8_t *const tensor_5 = memory + 1152; /* 1176 bytes */
    int8_t *const tensor_6 = memory + 0; /* 2352 bytes */
    int8_t *const tensor_7 = memory + 2352; /* 48 bytes */
    int8_t *const tensor_8 = memory + 128; /* 10 bytes */
    conv2d_0(input, tensor_0, scratch_0);
    max_pool2d_1(tensor_0, tensor_1);
    depthwise_conv2d_2(tensor_1, tensor_2, scratch_2);
    conv2d_3(tensor_2, tensor_3, scratch_3);
    max_pool2d_4(tensor_3, tensor_4);
    depthwise_conv2d_5(tensor_4, tensor_5, scratch_5);
    conv2d_6(tensor_5, tensor_6, scratch_6);
    average_pool2d_7(tensor_6, tensor_7);
    fully_connected_8(tensor_7, tensor_8, scratch_8);
    softmax_9(tensor_8, output);
    return 0;
}
