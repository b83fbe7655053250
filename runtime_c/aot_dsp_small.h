/*
 * Convolutions for processors with the Arm DSP extension where code must be small: one function for all layers of a kind,
 * which finds its numbers in a table.
 */
#ifndef AOT_DSP_SMALL_H
#define AOT_DSP_SMALL_H

#include "aot_dsp_matrix.h"
#include "aot_dsp_plane.h"

/* The numbers of a layer. */
typedef struct {
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c;
    int16_t kernel_h, kernel_w;
    int16_t stride_h, stride_w;
    int16_t dilation_h, dilation_w;
    int16_t pad_top, pad_left;
    int16_t in_zero, out_zero, out_min, out_max;
    int16_t blocks; /* of four elements in a sum */
} aot_small_layer;

/* The inputs of the three output pixels from `first` on, to `tile`; `row` has room for those of one as bytes. */
AOT_FUNCTION void aot_small_windows(const aot_small_layer *s, const int8_t *input, uint32_t *tile, int8_t *row,
                                    int32_t first)
{
    const int32_t pixels = s->out_h * s->out_w;
    for (int32_t p = 0; p < AOT_MATRIX_PIXELS; ++p) {
        const int32_t pixel = first + p < pixels ? first + p : pixels - 1;
        const int32_t top = pixel / s->out_w * s->stride_h - s->pad_top;
        const int32_t left = pixel % s->out_w * s->stride_w - s->pad_left;
        int8_t *to = row;
        for (int32_t ky = 0; ky < s->kernel_h; ++ky) {
            const int32_t y = top + ky * s->dilation_h;
            for (int32_t kx = 0; kx < s->kernel_w; ++kx) {
                const int32_t x = left + kx * s->dilation_w;
                if (y >= 0 && y < s->in_h && x >= 0 && x < s->in_w) {
                    memcpy(to, input + (y * s->in_w + x) * s->in_c, (size_t)s->in_c);
                } else {
                    memset(to, s->in_zero, (size_t)s->in_c);
                }
                to += s->in_c;
            }
        }
        aot_matrix_widen(tile + p, row, s->blocks);
    }
}

/* Convolution: three output pixels at a time; `tile` has room for them and, behind, for a pixel's inputs as bytes. */
AOT_INLINE void aot_small_tiles(const aot_small_layer *s, const int8_t *input, const int8_t *residual, int8_t *output,
                                uint32_t *tile, const uint32_t *stream, int32_t residual_zero, enum aot_sum what)
{
    int8_t *const row = (int8_t *)(tile + AOT_MATRIX_WORDS * s->blocks);
    const int32_t pixels = s->out_h * s->out_w;
    memset(row, 0, (size_t)s->blocks * 4u);
    for (int32_t first = 0; first < pixels; first += AOT_MATRIX_PIXELS) {
        const aot_matrix layer = aot_matrix_layer(pixels - first, s->out_c, s->out_zero, s->blocks);
        int8_t *const out = output + first * s->out_c;
        aot_small_windows(s, input, tile, row, first);
        if (what == AOT_SUM_ALONE) {
            aot_matrix_channels(stream, tile, out, layer, s->out_c);
        } else {
            aot_matrix_channels_add(stream, tile, out, layer, s->out_c, residual + first * s->out_c, residual_zero,
                                    what);
        }
        aot_matrix_clamp(out, layer, s->out_c, s->out_min, s->out_max);
    }
}

AOT_FUNCTION void aot_small_conv2d(const aot_small_layer *s, const int8_t *input, int8_t *output, uint32_t *tile,
                                   const uint32_t *stream)
{
    aot_small_tiles(s, input, NULL, output, tile, stream, 0, AOT_SUM_ALONE);
}

/* The same with a residual added to the sums. */
AOT_FUNCTION void aot_small_conv2d_add(const aot_small_layer *s, const int8_t *input, const int8_t *residual,
                                       int8_t *output, uint32_t *tile, const uint32_t *stream)
{
    aot_small_tiles(s, input, residual, output, tile, stream, 0, AOT_SUM_ADD);
}

/* The same with ReLU before that. */
AOT_FUNCTION void aot_small_conv2d_relu_add(const aot_small_layer *s, const int8_t *input, const int8_t *residual,
                                            int8_t *output, uint32_t *tile, const uint32_t *stream,
                                            int32_t residual_zero)
{
    aot_small_tiles(s, input, residual, output, tile, stream, residual_zero, AOT_SUM_RELU_ADD);
}

/* Depthwise convolution 3x3 without dilation: each channel on a padded plane of `plane_h` rows of `pitch` halfwords. */
AOT_FUNCTION void aot_small_depthwise(const aot_small_layer *s, const int8_t *input, int8_t *output, int16_t *plane,
                                      int32_t plane_h, int32_t pitch, const int8_t *weights, const int32_t *biases,
                                      const int32_t *multipliers)
{
    const int32_t rows = s->in_h < plane_h - s->pad_top ? s->in_h : plane_h - s->pad_top;
    const int32_t columns = s->in_w < pitch - s->pad_left ? s->in_w : pitch - s->pad_left;
    aot_plane_fill(plane, (int8_t)s->in_zero, plane_h * pitch);
    for (int32_t c = 0; c < s->in_c; ++c) {
        const int8_t *w = weights + 9 * c;
        const uint32_t first0 = aot_pair(w[0], w[1]);
        const uint32_t first1 = aot_pair(w[3], w[4]);
        const uint32_t first2 = aot_pair(w[6], w[7]);
        const uint32_t third0 = aot_pair(0, w[2]);
        const uint32_t third1 = aot_pair(0, w[5]);
        const uint32_t third2 = aot_pair(0, w[8]);
        int8_t *to = output + c;
        for (int32_t y = 0; y < rows; ++y) {
            const int8_t *from = input + y * s->in_w * s->in_c + c;
            int16_t *row = plane + (y + s->pad_top) * pitch + s->pad_left;
            for (int32_t x = 0; x < columns; ++x) {
                *row++ = from[x * s->in_c];
            }
        }
        for (int32_t y = 0; y < s->out_h; ++y) {
            const int16_t *row = plane + y * pitch * s->stride_h;
            for (int32_t x = 0; x < s->out_w; ++x) {
                int32_t sum = biases[c];
                sum = aot_multiply_pairs(aot_load_pair(row), first0, sum);
                sum = aot_multiply_pairs(aot_load_pair(row + 1), third0, sum);
                sum = aot_multiply_pairs(aot_load_pair(row + pitch), first1, sum);
                sum = aot_multiply_pairs(aot_load_pair(row + pitch + 1), third1, sum);
                sum = aot_multiply_pairs(aot_load_pair(row + 2 * pitch), first2, sum);
                sum = aot_multiply_pairs(aot_load_pair(row + 2 * pitch + 1), third2, sum);
                *to = aot_clamp(aot_requantize(sum, multipliers[c], s->out_zero), s->out_min, s->out_max);
                to += s->out_c;
                row += s->stride_h;
            }
        }
    }
}

#endif
