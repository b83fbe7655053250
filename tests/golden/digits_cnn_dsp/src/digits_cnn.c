/* digits_cnn: layers in order of execution, then the function that runs them. */
#include "digits_cnn.h"

#include <stddef.h>

#include "aot_dsp_any_window.h"
#include "aot_dsp_matrix.h"
#include "aot_dsp_plane.h"
#include "aot_dsp_rows.h"
#include "aot_simd_dsp.h"
#include "digits_cnn_weights.h"

#if AOT_RUNTIME_VERSION != 1
#error "aot_fixed.h is of another version than digits_cnn.c: regenerate both"
#endif

/* Windows 3 columns wide, 1 apart, over a plane: all outputs of one channel. */
#if AOT_ARM_DSP
AOT_ASSEMBLY static void dsp_windows_3_wide_stride1(const aot_dsp_windows *walk AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r11, lr}\n sub sp, sp, #68\n"
        "ldmia r0!, {r1-r7}\n stmia sp, {r1-r7}\n str r1, [sp, #56]\n str r7, [sp, #60]\n"
        "ldmia r0!, {r1-r6}\n add r7, sp, #28\n stmia r7, {r1-r6}\n"
        "1:\n"
        "ldr r3, [sp, #36]\n str r3, [sp, #52]\n"
        "2:\n"
        "ldmia sp, {r0-r3}\n mov r4, r3\n mov r5, r3\n mov r6, r3\n"
        "3:\n"
        "ldrd r7, r8, [r2], #8\n"
        "ldrd r9, r10, [r2], #8\n"
        "ldrd r11, r12, [r0, #0]\n"
        "smlad r3, r11, r7, r3\n"
        "smlad r4, r11, r8, r4\n"
        "smlad r3, r12, r9, r3\n"
        "smlad r4, r12, r10, r4\n"
        "smlad r5, r12, r7, r5\n"
        "smlad r6, r12, r8, r6\n"
        "ldr lr, [r0, #8]\n"
        "smlad r5, lr, r9, r5\n"
        "smlad r6, lr, r10, r6\n"
        "ldr r7, [sp, #32]\n subs r1, r1, #1\n add r0, r0, r7\n bne 3b\n"
        "ldrd r7, r8, [sp, #16]\n"
        "smmlar r3, r3, r7, r8\n ssat r3, #8, r3\n"
        "smmlar r4, r4, r7, r8\n ssat r4, #8, r4\n"
        "smmlar r5, r5, r7, r8\n ssat r5, #8, r5\n"
        "smmlar r6, r6, r7, r8\n ssat r6, #8, r6\n"
        "ldrd r7, r8, [sp, #24]\n ldr r9, [sp, #52]\n"
        "strb r3, [r7]\n cmp r9, #4\n blt 4f\n"
        "strb r4, [r7, r8]\n add r7, r7, r8, lsl #1\n strb r5, [r7]\n strb r6, [r7, r8]\n beq 5f\n"
        "add r7, r7, r8, lsl #1\n subs r9, r9, #4\n ldr r0, [sp]\n str r7, [sp, #24]\n"
        "add r0, r0, #8\n str r9, [sp, #52]\n str r0, [sp]\n b 2b\n"
        "4:\n"
        "cmp r9, #2\n blt 5f\n strb r4, [r7, r8]\n beq 5f\n strb r5, [r7, r8, lsl #1]\n"
        "5:\n"
        "ldr r2, [sp, #40]\n ldrd r3, r4, [sp, #44]\n ldrd r0, r1, [sp, #56]\n"
        "add r0, r0, r3\n add r1, r1, r4\n str r0, [sp]\n str r1, [sp, #24]\n strd r0, r1, [sp, #56]\n"
        "subs r2, r2, #1\n str r2, [sp, #40]\n bne 1b\n"
        "add sp, sp, #68\n pop {r4-r11, pc}\n");
}
#else
static void dsp_windows_3_wide_stride1(const aot_dsp_windows *walk)
{
    for (int32_t row = 0; row < walk->rows; ++row) {
        for (int32_t column = 0; column < walk->columns; ++column) {
            const int16_t *from = walk->plane + row * (walk->row_step / 2) + column * 1 / 2 * 2;
            const uint32_t *weights = walk->weights + column * 1 % 2;
            int32_t sum = walk->bias;
            for (int32_t ky = 0; ky < walk->kernel_rows; ++ky) {
                for (int32_t k = 0; k < 2; ++k) {
                    sum = aot_multiply_pairs(aot_pair(from[2 * k], from[2 * k + 1]), *weights, sum);
                    weights += 2;
                }
                from += walk->window_step / 2;
            }
            const int32_t y = aot_requantize(sum, walk->multiplier, walk->zero);
            walk->output[row * walk->out_row + column * walk->out_column] = aot_clamp(y, -128, 127);
        }
    }
}
#endif

/* Slides a filter over a plane with 20 bytes a row: 7 x 7 outputs, stride 1. */
#if AOT_ARM_DSP
AOT_ASSEMBLY static void plane_3x3_stride1_7x7_pitch10_step24_168(
    const int16_t *plane AOT_UNUSED, int8_t *output AOT_UNUSED, const uint32_t *filter AOT_UNUSED,
    int32_t zero AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "mov r10, r3\n"
        "ldmia r2, {r2, r4, r6, r8, r9}\n"
        "sxtb16 r3, r2, ror #8\n sxtb16 r5, r4, ror #8\n sxtb16 r7, r6, ror #8\n"
        "sxtb16 r2, r2\n sxtb16 r4, r4\n sxtb16 r6, r6\n"
        "movw r12, #7\n"
        "sub sp, sp, #24\n stmia sp, {r7, r8, r9, r10, r12}\n"
        "1:\n"
        "ldr r8, [r0]\n ldr r9, [r0, #20]\n ldr r10, [r0, #40]\n");
    __asm__(
        "ldr r12, [sp, #4]\n ldr r11, [r0, #4]\n"
        "smlatb lr, r8, r2, r12\n smlad lr, r11, r3, lr\n"
        "smlad r12, r8, r2, r12\n smlabt r12, r11, r3, r12\n"
        "ldr r8, [r0, #24]\n"
        "smlatb lr, r9, r4, lr\n smlad lr, r8, r5, lr\n"
        "smlad r12, r9, r4, r12\n smlabt r12, r8, r5, r12\n"
        "ldr r9, [r0, #44]\n"
        "smlatb lr, r10, r6, lr\n smlad lr, r9, r7, lr\n"
        "smlad r12, r10, r6, r12\n smlabt r12, r9, r7, r12\n"
        "ldrd r10, r7, [sp, #8]\n"
        "smmlar r12, r12, r10, r7\n ssat r12, #8, r12\n"
        "smmlar lr, lr, r10, r7\n ssat lr, #8, lr\n"
        "strb r12, [r1, #0]\n strb lr, [r1, #24]\n"
        "ldr r7, [sp]\n");
    __asm__(
        "ldr r12, [sp, #4]\n ldr r10, [r0, #8]\n"
        "smlatb lr, r11, r2, r12\n smlad lr, r10, r3, lr\n"
        "smlad r12, r11, r2, r12\n smlabt r12, r10, r3, r12\n"
        "ldr r11, [r0, #28]\n"
        "smlatb lr, r8, r4, lr\n smlad lr, r11, r5, lr\n"
        "smlad r12, r8, r4, r12\n smlabt r12, r11, r5, r12\n"
        "ldr r8, [r0, #48]\n"
        "smlatb lr, r9, r6, lr\n smlad lr, r8, r7, lr\n"
        "smlad r12, r9, r6, r12\n smlabt r12, r8, r7, r12\n"
        "ldrd r9, r7, [sp, #8]\n"
        "smmlar r12, r12, r9, r7\n ssat r12, #8, r12\n"
        "smmlar lr, lr, r9, r7\n ssat lr, #8, lr\n"
        "strb r12, [r1, #48]\n strb lr, [r1, #72]\n"
        "ldr r7, [sp]\n");
    __asm__(
        "ldr r12, [sp, #4]\n ldr r9, [r0, #12]\n"
        "smlatb lr, r10, r2, r12\n smlad lr, r9, r3, lr\n"
        "smlad r12, r10, r2, r12\n smlabt r12, r9, r3, r12\n"
        "ldr r10, [r0, #32]\n"
        "smlatb lr, r11, r4, lr\n smlad lr, r10, r5, lr\n"
        "smlad r12, r11, r4, r12\n smlabt r12, r10, r5, r12\n"
        "ldr r11, [r0, #52]\n"
        "smlatb lr, r8, r6, lr\n smlad lr, r11, r7, lr\n"
        "smlad r12, r8, r6, r12\n smlabt r12, r11, r7, r12\n"
        "ldrd r8, r7, [sp, #8]\n"
        "smmlar r12, r12, r8, r7\n ssat r12, #8, r12\n"
        "smmlar lr, lr, r8, r7\n ssat lr, #8, lr\n"
        "strb r12, [r1, #96]\n strb lr, [r1, #120]\n"
        "ldr r7, [sp]\n");
    __asm__(
        "ldr r12, [sp, #4]\n ldr r8, [r0, #16]\n"
        "smlad r12, r9, r2, r12\n smlabt r12, r8, r3, r12\n"
        "ldr r9, [r0, #36]\n"
        "smlad r12, r10, r4, r12\n smlabt r12, r9, r5, r12\n"
        "ldr r10, [r0, #56]\n"
        "smlad r12, r11, r6, r12\n smlabt r12, r10, r7, r12\n"
        "ldrd r11, lr, [sp, #8]\n"
        "smmlar r12, r12, r11, lr\n ssat r12, #8, r12\n"
        "strb r12, [r1, #144]\n");
    __asm__(
        "ldr r12, [sp, #16]\n subs r12, r12, #1\n str r12, [sp, #16]\n"
        "addw r0, r0, #20\n"
        "addw r1, r1, #168\n"
        "bne 1b\n"
        "add sp, sp, #24\n"
        "pop {r4-r11, pc}\n");
}
#else
static void plane_3x3_stride1_7x7_pitch10_step24_168(
    const int16_t *plane, int8_t *output, const uint32_t *filter, int32_t zero)
{
    enum {
        STRIDE = 1, ROWS = 7, COLUMNS = 7, PITCH = 10, OUT_ROW = 168, OUT_COLUMN = 24, SHIFT = 0,
        GROUPS = 0
    };
    for (int32_t row = 0; row < ROWS; ++row) {
        for (int32_t column = 0; column < COLUMNS; ++column) {
            const int32_t sum = aot_plane_sum(plane + (row * PITCH + column) * STRIDE, PITCH, filter);
            const int32_t y = aot_requantize(sum, (int32_t)filter[AOT_PLANE_MULTIPLIER], zero);
            output[row * OUT_ROW + column * OUT_COLUMN] = aot_clamp(y, -128, 127);
        }
    }
}
#endif

/* conv2d: 1x28x28x1 -> 1x28x28x8
 * from node_Conv_81 + node_relu
 */
AOT_LAYER static void conv2d_0(const int8_t *input, int8_t *output, uint32_t *tile)
{
    enum {
        BATCH = 1, IN_H = 28, IN_W = 28, IN_C = 1, OUT_H = 28, OUT_W = 28, OUT_C = 8, KERNEL_H = 3,
        KERNEL_W = 3, STRIDE_H = 1, STRIDE_W = 1, DILATION_H = 1, DILATION_W = 1, PAD_TOP = 1,
        PAD_LEFT = 1, GROUPS = 1, GROUP_IN_C = 1, GROUP_OUT_C = 8, PIXELS = 784, DEPTH = 9, IN_ZERO = -128,
        OUT_ZERO = -92, OUT_MIN = -92, OUT_MAX = 127, SHIFT = 0, PAIRS = 4, BLOCKS = 3, GROUP_WORDS = 40
    };
    int8_t *const row = (int8_t *)(tile + AOT_MATRIX_WORDS * BLOCKS);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t first = 0; first < PIXELS; first += AOT_MATRIX_PIXELS) {
            int8_t *const out = output + first * OUT_C;
            const int32_t column = first % OUT_W;
            const int32_t upper = first / OUT_W * STRIDE_H - PAD_TOP;
            const int32_t leftmost = column * STRIDE_W - PAD_LEFT;
            if (upper >= 0 && upper + (KERNEL_H - 1) * DILATION_H < IN_H && leftmost >= 0 && column + 2 < OUT_W
                && leftmost + 2 * STRIDE_W + KERNEL_W <= IN_W) { /* three windows inside, beside each other */
                aot_matrix_windows(tile, input + (upper * IN_W + leftmost) * IN_C, STRIDE_W * IN_C,
                                   IN_W * IN_C * DILATION_H, KERNEL_W * IN_C, KERNEL_H);
            } else {
                for (int32_t p = 0; p < AOT_MATRIX_PIXELS; ++p) {
                    const int32_t pixel = first + p < PIXELS ? first + p : PIXELS - 1;
                    const int32_t top = pixel / OUT_W * STRIDE_H - PAD_TOP;
                    const int32_t left = pixel % OUT_W * STRIDE_W - PAD_LEFT;
                    if (top >= 0 && top + (KERNEL_H - 1) * DILATION_H < IN_H && left >= 0 && left + KERNEL_W <= IN_W) {
                        aot_matrix_window(tile + p, input + (top * IN_W + left) * IN_C,
                                          IN_W * IN_C * DILATION_H, KERNEL_W * IN_C, KERNEL_H);
                    } else { /* the window reaches into the padding */
                        int32_t place = 0;
                        for (int32_t ky = 0; ky < KERNEL_H; ++ky) {
                            const int32_t y = top + ky * DILATION_H;
                            for (int32_t kx = 0; kx < KERNEL_W; ++kx) {
                                const int32_t x = left + kx * DILATION_W;
                                if (y >= 0 && y < IN_H && x >= 0 && x < IN_W) {
                                    aot_copy(row + place, input + (y * IN_W + x) * IN_C, GROUP_IN_C);
                                } else {
                                    memset(row + place, IN_ZERO, GROUP_IN_C);
                                }
                                place += GROUP_IN_C;
                            }
                        }
                        aot_matrix_window(tile + p, row, KERNEL_W * GROUP_IN_C, KERNEL_W * GROUP_IN_C, KERNEL_H);
                    }
                }
            }
            const aot_matrix layer = aot_matrix_layer(PIXELS - first, OUT_C, OUT_ZERO, BLOCKS);
            aot_matrix_channels(digits_cnn_conv2d_0_stream, tile, out, layer, GROUP_OUT_C);
            aot_matrix_clamp(out, layer, GROUP_OUT_C, OUT_MIN, OUT_MAX);
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
AOT_LAYER static void depthwise_conv2d_2(const int8_t *input, int8_t *output, int16_t *plane)
{
    enum {
        BATCH = 1, IN_C = 8, OUT_C = 8, FILTERS = 1, IN_ZERO = -92, OUT_ZERO = -77, OUT_MIN = -77,
        OUT_MAX = 127, IN_BYTES = 1568, OUT_BYTES = 1568, PITCH = 16, PAD_ROWS = 1, COPY_ROWS = 14,
        IN_ROW = 112, IN_COLUMN = 8, KERNEL_ROWS = 3, KERNEL_COLUMNS = 3, ROWS = 14, ROW_STEP = 1,
        WINDOW_STEP = 1, OUT_ROW = 112, OUT_COLUMN = 8, COUNT_0 = 14, TO_0 = 1, FROM_0 = 0, AT_0 = 0,
        OUTPUTS_0 = 14, FIRST_0 = 0, PLANE = 264, BOTH = 1
    };
    uint32_t *const pairs = (uint32_t *)(void *)(plane + PLANE);
    aot_dsp_windows walk = { plane, KERNEL_ROWS, pairs, 0, 0, OUT_ZERO, output, OUT_COLUMN, 2 * WINDOW_STEP * PITCH,
                             OUTPUTS_0, ROWS, 2 * ROW_STEP * PITCH, OUT_ROW };
    /* One channel at a time is copied to a padded plane; its border stays as it is set here. */
    aot_plane_fill(plane, IN_ZERO, PLANE);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t channel = 0; channel < IN_C; ++channel) {
            for (int32_t row = 0; row < COPY_ROWS; ++row) {
                int16_t *const to = plane + (row + PAD_ROWS) * PITCH;
                const int8_t *const from = input + row * IN_ROW + channel;
                aot_plane_row(to + TO_0, from + FROM_0, IN_COLUMN, COUNT_0);
            }
            for (int32_t c = channel * FILTERS; c < (channel + 1) * FILTERS; ++c) {
                aot_window_weights(pairs, digits_cnn_depthwise_conv2d_2_weights + c * KERNEL_ROWS * KERNEL_COLUMNS, KERNEL_ROWS,
                                   KERNEL_COLUMNS, BOTH);
                walk.bias = digits_cnn_depthwise_conv2d_2_bias[c];
                walk.multiplier = digits_cnn_depthwise_conv2d_2_multipliers[c];
                walk.plane = plane + AT_0;
                walk.output = output + FIRST_0 + c;
                dsp_windows_3_wide_stride1(&walk);
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
AOT_LAYER static void conv2d_3(const int8_t *input, int8_t *output, uint32_t *tile)
{
    enum {
        PIXELS = 196, IN_C = 8, OUT_C = 24, BLOCKS = 2, OUT_ZERO = -77, OUT_MIN = -77, OUT_MAX = 127
    };
    for (int32_t first = 0; first < PIXELS; first += AOT_MATRIX_PIXELS) {
        const int8_t *const from = input + first * IN_C;
        int8_t *const out = output + first * OUT_C;
        const int32_t last = PIXELS - 1 - first; /* a partial tile repeats its last pixel */
        aot_matrix_widen_three(tile, from, from + (last < 1 ? last : 1) * IN_C, from + (last < 2 ? last : 2) * IN_C,
                               BLOCKS);
        const aot_matrix layer = aot_matrix_layer(PIXELS - first, OUT_C, OUT_ZERO, BLOCKS);
        aot_matrix_channels(digits_cnn_conv2d_3_stream, tile, out, layer, OUT_C);
        aot_matrix_clamp(out, layer, OUT_C, OUT_MIN, OUT_MAX);
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
AOT_LAYER static void depthwise_conv2d_5(const int8_t *input, int8_t *output, int16_t *plane)
{
    enum {
        BATCH = 1, IN_C = 24, OUT_C = 24, FILTERS = 1, IN_ZERO = -77, OUT_ZERO = -113, OUT_MIN = -113,
        OUT_MAX = 127, IN_BYTES = 1176, OUT_BYTES = 1176, PLANE_H = 9, PITCH = 10, PAD_ROWS = 1,
        PAD_COLUMNS = 1, COPY_ROWS = 7, COPY_COLUMNS = 7, IN_ROW = 168, IN_COLUMN = 24
    };
    /* One channel at a time is copied to a padded plane; its border stays as it is set here. */
    aot_plane_fill(plane, IN_ZERO, PLANE_H * PITCH);
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t channel = 0; channel < IN_C; ++channel) {
            for (int32_t row = 0; row < COPY_ROWS; ++row) {
                aot_plane_row(plane + (row + PAD_ROWS) * PITCH + PAD_COLUMNS, input + row * IN_ROW + channel,
                              IN_COLUMN, COPY_COLUMNS);
            }
            for (int32_t c = channel * FILTERS; c < (channel + 1) * FILTERS; ++c) {
                plane_3x3_stride1_7x7_pitch10_step24_168(
                    plane, output + c, digits_cnn_depthwise_conv2d_5_filters + c * AOT_PLANE_FILTER, OUT_ZERO);
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
AOT_LAYER static void conv2d_6(const int8_t *input, int8_t *output, uint32_t *tile)
{
    enum {
        PIXELS = 49, IN_C = 24, OUT_C = 48, BLOCKS = 6, OUT_ZERO = -43, OUT_MIN = -43, OUT_MAX = 127
    };
    for (int32_t first = 0; first < PIXELS; first += AOT_MATRIX_PIXELS) {
        const int8_t *const from = input + first * IN_C;
        int8_t *const out = output + first * OUT_C;
        const int32_t last = PIXELS - 1 - first; /* a partial tile repeats its last pixel */
        aot_matrix_widen_three(tile, from, from + (last < 1 ? last : 1) * IN_C, from + (last < 2 ? last : 2) * IN_C,
                               BLOCKS);
        const aot_matrix layer = aot_matrix_layer(PIXELS - first, OUT_C, OUT_ZERO, BLOCKS);
        aot_matrix_channels(digits_cnn_conv2d_6_stream, tile, out, layer, OUT_C);
        aot_matrix_clamp(out, layer, OUT_C, OUT_MIN, OUT_MAX);
    }
}

/* average_pool2d: 1x7x7x48 -> 1x1x1x48
 * from node_mean
 */
AOT_LAYER static void average_pool2d_7(const int8_t *input, int8_t *output)
{
    enum {
        PIXELS = 49, BATCH = 1, IN_C = 48, IN_ZERO = -43, OUT_ZERO = -128, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0, MULTIPLIER = 65739293
    };
    for (int32_t n = 0; n < BATCH; ++n) {
        for (int32_t c = 0; c < IN_C; c += 4) {
            uint32_t even = 0; /* sums of channels c and c + 2, in 16 bits each */
            uint32_t odd = 0;
            for (int32_t pixel = 0; pixel < PIXELS; ++pixel) {
                const uint32_t word = aot_load_bytes(input + pixel * IN_C + c);
                even = aot_add_even_bytes(even, word);
                odd = aot_add_odd_bytes(odd, word);
            }
            const int32_t sums[4] = { (int16_t)(even & 0xFFFFu), (int16_t)(odd & 0xFFFFu), (int16_t)(even >> 16),
                                      (int16_t)(odd >> 16) };
            for (int32_t i = 0; i < 4; ++i) {
                const int32_t sum = sums[i] - PIXELS * IN_ZERO;
                *output++ = aot_clamp(aot_requantize(sum, MULTIPLIER, OUT_ZERO), OUT_MIN, OUT_MAX);
            }
        }
        input += PIXELS * IN_C;
    }
}

/* fully_connected: 1x48 -> 1x10
 * from node_linear
 */
AOT_LAYER static void fully_connected_8(const int8_t *input, int8_t *output, uint32_t *wide)
{
    enum {
        ROWS = 1, IN_LENGTH = 48, OUT_LENGTH = 10, OUT_ZERO = -100, OUT_MIN = -128, OUT_MAX = 127,
        SHIFT = 0, BYTE_BLOCKS = 0, WIDE_BLOCKS = 12, WHOLE_FOURS = 2, LEFT_OVER = 2, WHOLE_WORDS = 108,
        SHORT = 1, LAST_SHIFT = 15
    };
    static const aot_rows layer = { AOT_MATRIX_SHORT_OFFSET(OUT_ZERO, LAST_SHIFT), BYTE_BLOCKS, WIDE_BLOCKS, WHOLE_FOURS, LAST_SHIFT };
    static const aot_rows last_four = { AOT_MATRIX_SHORT_OFFSET(OUT_ZERO, LAST_SHIFT), BYTE_BLOCKS, WIDE_BLOCKS, 1, LAST_SHIFT };
    int8_t last[AOT_MATRIX_ROWS];
    aot_matrix_row_inputs(wide, input + BYTE_BLOCKS * 4, IN_LENGTH - BYTE_BLOCKS * 4);
    aot_matrix_rows_short(digits_cnn_fully_connected_8_stream, input, wide, output, &layer);
    aot_matrix_rows_short(digits_cnn_fully_connected_8_stream + WHOLE_WORDS, input, wide, last, &last_four);
    memcpy(output + WHOLE_FOURS * AOT_MATRIX_ROWS, last, LEFT_OVER);
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
    void *const scratch_0 = memory + 6272; /* 84 bytes */
    void *const scratch_2 = memory + 0; /* 576 bytes */
    void *const scratch_3 = memory + 4704; /* 48 bytes */
    void *const scratch_5 = memory + 0; /* 180 bytes */
    void *const scratch_6 = memory + 2352; /* 144 bytes */
    void *const scratch_8 = memory + 0; /* 96 bytes */
    int8_t *const tensor_0 = memory + 0; /* 6272 bytes */
    int8_t *const tensor_1 = memory + 6272; /* 1568 bytes */
    int8_t *const tensor_2 = memory + 3120; /* 1568 bytes */
    int8_t *const tensor_3 = memory + 0; /* 4704 bytes */
    int8_t *const tensor_4 = memory + 4704; /* 1176 bytes */
    int8_t *const tensor_5 = memory + 1152; /* 1176 bytes */
    int8_t *const tensor_6 = memory + 0; /* 2352 bytes */
    int8_t *const tensor_7 = memory + 2352; /* 48 bytes */
    int8_t *const tensor_8 = memory + 96; /* 10 bytes */

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
