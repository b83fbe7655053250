/* digits_cnn: layers in order of execution, then the function that runs them. */
#include "digits_cnn.h"

#include <stddef.h>

#include "aot_plane_windows.h"
#include "aot_simd_c99.h"
#include "digits_cnn_weights.h"

#if AOT_RUNTIME_VERSION != 1
#error "aot_fixed.h is of another version than digits_cnn.c: regenerate both"
#endif

/* Windows 3 columns wide, 1 apart, over a plane: all outputs of one channel. */
AOT_FUNCTION void windows_3_wide_stride1(const aot_plane_windows *walk)
{
    enum {
        WIDTH = 3, STRIDE = 1, SHIFT = 0
    };
    const int32_t multiplier = walk->multiplier;
    const int32_t zero = walk->zero;
    const int32_t window_step = walk->window_step;
    const int32_t out_column = walk->out_column;
    const int8_t *start = walk->plane;
    int8_t *output = walk->output;
    for (int32_t row = 0; row < walk->rows; ++row) {
        const int8_t *block = start;
        int8_t *out = output;
        for (int32_t left = walk->columns; left > 0; left -= AOT_WINDOWS) {
            const int32_t count = left < AOT_WINDOWS ? left : AOT_WINDOWS;
            const int8_t *weights = walk->weights;
            const int8_t *from = block;
            int32_t sums[AOT_WINDOWS];
            int32_t s0 = walk->bias;
            int32_t s1 = s0;
            int32_t s2 = s0;
            int32_t s3 = s0;
            for (int32_t ky = walk->kernel_rows; ky > 0; --ky) {
#pragma GCC unroll 7
                for (int32_t kx = 0; kx < WIDTH; ++kx) {
                    const int32_t weight = weights[kx];
                    s0 += from[kx] * weight;
                    s1 += from[kx + STRIDE] * weight;
                    s2 += from[kx + 2 * STRIDE] * weight;
                    s3 += from[kx + 3 * STRIDE] * weight;
                }
                weights += WIDTH;
                from += window_step;
            }
            sums[0] = s0;
            sums[1] = s1;
            sums[2] = s2;
            sums[3] = s3;
            for (int32_t i = 0; i < count; ++i) {
                *out = aot_clamp(aot_requantize(sums[i], multiplier, zero), -128, 127);
                out += out_column;
            }
            block += AOT_WINDOWS * STRIDE;
        }
        start += walk->row_step;
        output += walk->out_row;
    }
}

/* conv2d: 1x28x28x1 -> 1x28x28x8
 * from node_Conv_81 + node_relu
 */
AOT_LAYER static void conv2d_0(const int8_t *input, int8_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 28, IN_W = 28, IN_C = 1, OUT_H = 28, OUT_W = 28, OUT_C = 8, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 1, GROUP_OUT_C = 8, PIXELS = 784, DEPTH = 9,
        PADDED_DEPTH = 9, IN_ZERO = -128, OUT_ZERO = -92, OUT_MIN = -92, OUT_MAX = 127, SHIFT = 0
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
                        sums[0][p] = digits_cnn_conv2d_0_bias[c0];
                        sums[1][p] = digits_cnn_conv2d_0_bias[c1];
                    }
                    aot_tile_dot(tile, digits_cnn_conv2d_0_weights + c0 * PADDED_DEPTH, digits_cnn_conv2d_0_weights + c1 * PADDED_DEPTH,
                                 PADDED_DEPTH, sums);
                    {
                        const int32_t v0 = aot_requantize(sums[0][0], digits_cnn_conv2d_0_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][0], digits_cnn_conv2d_0_multipliers[c1], OUT_ZERO);
                        out[0 * OUT_C + c0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
                        out[0 * OUT_C + c1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
                    }
                    if (count > 1) {
                        const int32_t v0 = aot_requantize(sums[0][1], digits_cnn_conv2d_0_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][1], digits_cnn_conv2d_0_multipliers[c1], OUT_ZERO);
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
AOT_LAYER static void depthwise_conv2d_2(const int8_t *input, int8_t *output, int8_t *plane)
{
    enum {
        BATCH = 1, IN_C = 8, OUT_C = 8, FILTERS = 1, IN_ZERO = -92, OUT_ZERO = -77, OUT_MIN = -77,
        OUT_MAX = 127, IN_BYTES = 1568, OUT_BYTES = 1568, PITCH = 16, PAD_ROWS = 1, COPY_ROWS = 14,
        IN_ROW = 112, IN_COLUMN = 8, KERNEL_ROWS = 3, KERNEL_COLUMNS = 3, ROWS = 14, ROW_STEP = 1,
        WINDOW_STEP = 1, OUT_ROW = 112, OUT_COLUMN = 8, COUNT_0 = 14, TO_0 = 1, FROM_0 = 0, AT_0 = 0,
        OUTPUTS_0 = 14, FIRST_0 = 0, PLANE = 264
    };
    aot_plane_windows walk = { plane, KERNEL_ROWS, NULL, 0, 0, OUT_ZERO, output, OUT_COLUMN, WINDOW_STEP * PITCH,
                               OUTPUTS_0, ROWS, ROW_STEP * PITCH, OUT_ROW };
    /* One channel at a time is copied to a padded plane; its border stays as it is set here. */
    memset(plane, IN_ZERO, PLANE);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t channel = 0; channel < IN_C; ++channel) {
            for (int32_t row = 0; row < COPY_ROWS; ++row) {
                int8_t *const to = plane + (row + PAD_ROWS) * PITCH;
                const int8_t *const from = input + row * IN_ROW + channel;
                aot_plane_gather(to + TO_0, from + FROM_0, IN_COLUMN, COUNT_0);
            }
            for (int32_t c = channel * FILTERS; c < (channel + 1) * FILTERS; ++c) {
                walk.weights = digits_cnn_depthwise_conv2d_2_weights + c * KERNEL_ROWS * KERNEL_COLUMNS;
                walk.bias = digits_cnn_depthwise_conv2d_2_bias[c];
                walk.multiplier = digits_cnn_depthwise_conv2d_2_multipliers[c];
                walk.plane = plane + AT_0;
                walk.output = output + FIRST_0 + c;
                windows_3_wide_stride1(&walk);
            }
        }
        for (int32_t i = 0; i < OUT_BYTES; ++i) {
            output[i] = aot_clamp(output[i], OUT_MIN, OUT_MAX);
        }
        input += IN_BYTES;
        output += OUT_BYTES;
    }
}

/* conv2d: 1x14x14x8 -> 1x14x14x24
 * from node_Conv_85 + node_relu_2
 */
AOT_LAYER static void conv2d_3(const int8_t *input, int8_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 14, IN_W = 14, IN_C = 8, OUT_H = 14, OUT_W = 14, OUT_C = 24, KERNEL_H = 1,
        KERNEL_W = 1, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 0,
        PAD_LEFT = 0, GROUPS = 1, GROUP_IN_C = 8, GROUP_OUT_C = 24, PIXELS = 196, DEPTH = 8,
        PADDED_DEPTH = 8, IN_ZERO = -77, OUT_ZERO = -77, OUT_MIN = -77, OUT_MAX = 127, SHIFT = 0
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
                        sums[0][p] = digits_cnn_conv2d_3_bias[c0];
                        sums[1][p] = digits_cnn_conv2d_3_bias[c1];
                    }
                    aot_tile_dot(tile, digits_cnn_conv2d_3_weights + c0 * PADDED_DEPTH, digits_cnn_conv2d_3_weights + c1 * PADDED_DEPTH,
                                 PADDED_DEPTH, sums);
                    {
                        const int32_t v0 = aot_requantize(sums[0][0], digits_cnn_conv2d_3_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][0], digits_cnn_conv2d_3_multipliers[c1], OUT_ZERO);
                        out[0 * OUT_C + c0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
                        out[0 * OUT_C + c1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
                    }
                    if (count > 1) {
                        const int32_t v0 = aot_requantize(sums[0][1], digits_cnn_conv2d_3_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][1], digits_cnn_conv2d_3_multipliers[c1], OUT_ZERO);
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
AOT_LAYER static void depthwise_conv2d_5(const int8_t *input, int8_t *output, int8_t *plane)
{
    enum {
        BATCH = 1, IN_C = 24, OUT_C = 24, FILTERS = 1, IN_ZERO = -77, OUT_ZERO = -113, OUT_MIN = -113,
        OUT_MAX = 127, IN_BYTES = 1176, OUT_BYTES = 1176, PITCH = 10, PAD_ROWS = 1, COPY_ROWS = 7,
        IN_ROW = 168, IN_COLUMN = 24, KERNEL_ROWS = 3, KERNEL_COLUMNS = 3, ROWS = 7, ROW_STEP = 1,
        WINDOW_STEP = 1, OUT_ROW = 168, OUT_COLUMN = 24, COUNT_0 = 7, TO_0 = 1, FROM_0 = 0, AT_0 = 0,
        OUTPUTS_0 = 7, FIRST_0 = 0, PLANE = 98
    };
    aot_plane_windows walk = { plane, KERNEL_ROWS, NULL, 0, 0, OUT_ZERO, output, OUT_COLUMN, WINDOW_STEP * PITCH,
                               OUTPUTS_0, ROWS, ROW_STEP * PITCH, OUT_ROW };
    /* One channel at a time is copied to a padded plane; its border stays as it is set here. */
    memset(plane, IN_ZERO, PLANE);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t channel = 0; channel < IN_C; ++channel) {
            for (int32_t row = 0; row < COPY_ROWS; ++row) {
                int8_t *const to = plane + (row + PAD_ROWS) * PITCH;
                const int8_t *const from = input + row * IN_ROW + channel;
                aot_plane_gather(to + TO_0, from + FROM_0, IN_COLUMN, COUNT_0);
            }
            for (int32_t c = channel * FILTERS; c < (channel + 1) * FILTERS; ++c) {
                walk.weights = digits_cnn_depthwise_conv2d_5_weights + c * KERNEL_ROWS * KERNEL_COLUMNS;
                walk.bias = digits_cnn_depthwise_conv2d_5_bias[c];
                walk.multiplier = digits_cnn_depthwise_conv2d_5_multipliers[c];
                walk.plane = plane + AT_0;
                walk.output = output + FIRST_0 + c;
                windows_3_wide_stride1(&walk);
            }
        }
        for (int32_t i = 0; i < OUT_BYTES; ++i) {
            output[i] = aot_clamp(output[i], OUT_MIN, OUT_MAX);
        }
        input += IN_BYTES;
        output += OUT_BYTES;
    }
}

/* conv2d: 1x7x7x24 -> 1x7x7x48
 * from node_Conv_89 + node_relu_4
 */
AOT_LAYER static void conv2d_6(const int8_t *input, int8_t *output, int16_t *tile)
{
    enum {
        BATCH = 1, IN_H = 7, IN_W = 7, IN_C = 24, OUT_H = 7, OUT_W = 7, OUT_C = 48, KERNEL_H = 1,
        KERNEL_W = 1, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 0,
        PAD_LEFT = 0, GROUPS = 1, GROUP_IN_C = 24, GROUP_OUT_C = 48, PIXELS = 49, DEPTH = 24,
        PADDED_DEPTH = 24, IN_ZERO = -113, OUT_ZERO = -43, OUT_MIN = -43, OUT_MAX = 127, SHIFT = 0
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
                        sums[0][p] = digits_cnn_conv2d_6_bias[c0];
                        sums[1][p] = digits_cnn_conv2d_6_bias[c1];
                    }
                    aot_tile_dot(tile, digits_cnn_conv2d_6_weights + c0 * PADDED_DEPTH, digits_cnn_conv2d_6_weights + c1 * PADDED_DEPTH,
                                 PADDED_DEPTH, sums);
                    {
                        const int32_t v0 = aot_requantize(sums[0][0], digits_cnn_conv2d_6_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][0], digits_cnn_conv2d_6_multipliers[c1], OUT_ZERO);
                        out[0 * OUT_C + c0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
                        out[0 * OUT_C + c1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
                    }
                    if (count > 1) {
                        const int32_t v0 = aot_requantize(sums[0][1], digits_cnn_conv2d_6_multipliers[c0], OUT_ZERO);
                        const int32_t v1 = aot_requantize(sums[1][1], digits_cnn_conv2d_6_multipliers[c1], OUT_ZERO);
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
AOT_LAYER static void fully_connected_8(const int8_t *input, int8_t *output)
{
    enum {
        ROWS = 1, IN_LENGTH = 48, OUT_LENGTH = 10, OUT_ZERO = -100, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        for (int32_t o0 = 0; o0 < OUT_LENGTH; o0 += 2) {
            const int32_t o1 = o0 + 1 < OUT_LENGTH ? o0 + 1 : o0; /* an odd last output is its own partner */
            int32_t sums[2] = { digits_cnn_fully_connected_8_bias[o0], digits_cnn_fully_connected_8_bias[o1] };
            aot_row_dot(input, digits_cnn_fully_connected_8_weights + o0 * IN_LENGTH,
                        digits_cnn_fully_connected_8_weights + o1 * IN_LENGTH, IN_LENGTH, sums);
            const int32_t v0 = aot_requantize(sums[0], digits_cnn_fully_connected_8_multipliers[o0], OUT_ZERO);
            const int32_t v1 = aot_requantize(sums[1], digits_cnn_fully_connected_8_multipliers[o1], OUT_ZERO);
            output[o0] = aot_clamp(v0, OUT_MIN, OUT_MAX);
            output[o1] = aot_clamp(v1, OUT_MIN, OUT_MAX);
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
    void *const scratch_0 = memory + 6272; /* 36 bytes */
    void *const scratch_2 = memory + 0; /* 264 bytes */
    void *const scratch_3 = memory + 4704; /* 32 bytes */
    void *const scratch_5 = memory + 0; /* 98 bytes */
    void *const scratch_6 = memory + 2352; /* 96 bytes */
    int8_t *const tensor_0 = memory + 0; /* 6272 bytes */
    int8_t *const tensor_1 = memory + 6272; /* 1568 bytes */
    int8_t *const tensor_2 = memory + 3104; /* 1568 bytes */
    int8_t *const tensor_3 = memory + 0; /* 4704 bytes */
    int8_t *const tensor_4 = memory + 4704; /* 1176 bytes */
    int8_t *const tensor_5 = memory + 1152; /* 1176 bytes */
    int8_t *const tensor_6 = memory + 0; /* 2352 bytes */
    int8_t *const tensor_7 = memory + 2352; /* 48 bytes */
    int8_t *const tensor_8 = memory + 0; /* 10 bytes */

    conv2d_0(input, tensor_0, scratch_0);
    max_pool2d_1(tensor_0, tensor_1);
    depthwise_conv2d_2(tensor_1, tensor_2, scratch_2);
    conv2d_3(tensor_2, tensor_3, scratch_3);
    max_pool2d_4(tensor_3, tensor_4);
    depthwise_conv2d_5(tensor_4, tensor_5, scratch_5);
    conv2d_6(tensor_5, tensor_6, scratch_6);
    average_pool2d_7(tensor_6, tensor_7);
    fully_connected_8(tensor_7, tensor_8);
    softmax_9(tensor_8, output);
    return 0;
}
