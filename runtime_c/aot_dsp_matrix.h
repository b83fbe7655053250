/*
 * Matrix products for processors with the Arm DSP extension (little-endian): int8 weights in pairs of halfwords.
 *
 * Four weights w0 .. w3 of one output channel are one word. Read as two signed halfwords it is (256 w1 + w0,
 * 256 w3 + w2): the upper byte of each is stored one lower where the lower byte is negative. Four inputs x0 .. x3
 * become two words of halfwords, odd = (x1, x3) and even = (256 x0 + 127 - x1, 256 x2 + 127 - x3). With these,
 *
 *     word * odd + (w0, w2) * even  =  256 (w0 x0 + w1 x1 + w2 x2 + w3 x3) + 127 (w0 + w2)
 *
 * so one extraction of bytes serves four products. The last term is a constant of the channel and is part of its
 * bias here. Sums are exact as long as the true sum stays below 2^23, which is proven for each layer that comes here.
 *
 * The weights of a layer are one stream in the order of their use: biases, weights, multipliers.
 */
#ifndef AOT_DSP_MATRIX_H
#define AOT_DSP_MATRIX_H

#include "aot_simd_dsp.h"

enum { AOT_MATRIX_PIXELS = 3, AOT_MATRIX_WORDS = 6 };

/* What aot_matrix_pairs has to know besides its pointers; the assembly relies on this order. */
typedef struct {
    int32_t pixel1;  /* distance in bytes from the output of pixel 0 to that of pixel 1 */
    int32_t pixel2;  /* and to that of pixel 2 */
    int32_t offset;  /* 256 times the zero point of the output, plus one half */
    int32_t blocks;  /* blocks of four elements in a sum */
    int32_t pairs;   /* pairs of output channels */
} aot_matrix;

/* The same where a residual is added to the sums. */
typedef struct {
    aot_matrix layer;
    const int8_t *residual; /* for the place of the first output, in the same order */
    int32_t residual_zero;  /* its zero point, if sums below 0 are cut off before; if not, the biases know it */
} aot_matrix_sum;

/* The zero point as it is added before a sum is divided by 256. */
#define AOT_MATRIX_OFFSET(zero) (256 * (zero) + 128)

/* For a tile of which `left` pixels are inside the layer; a pixel's output has `out_c` bytes. */
AOT_INLINE aot_matrix aot_matrix_layer(int32_t left, int32_t out_c, int32_t zero, int32_t blocks)
{
    aot_matrix layer;
    layer.pixel1 = left > 1 ? out_c : 0;
    layer.pixel2 = left > 2 ? 2 * out_c : layer.pixel1;
    layer.offset = AOT_MATRIX_OFFSET(zero);
    layer.blocks = blocks;
    layer.pairs = 0;
    return layer;
}

/* (256 x0 + 127 - x1, 256 x2 + 127 - x3) of four inputs. */
AOT_INLINE uint32_t aot_matrix_even(uint32_t word)
{
#if AOT_ARM_DSP
    uint32_t swapped;
    __asm__("rev16 %0, %1" : "=r"(swapped) : "r"(word));
#else
    const uint32_t swapped = ((word & 0x00FF00FFu) << 8) | ((word >> 8) & 0x00FF00FFu);
#endif
    return swapped ^ 0x007F007Fu;
}

/* Four inputs after the other into one pixel's place in a tile of three; a block of the tile has six words. */
AOT_INLINE void aot_matrix_widen(uint32_t *tile, const int8_t *from, int32_t words)
{
#pragma GCC unroll 4
    for (int32_t i = 0; i < words; ++i) {
        const uint32_t word = aot_load_bytes(from + 4 * i);
        tile[0] = aot_odd_bytes(word);
        tile[3] = aot_matrix_even(word);
        tile += 6;
    }
}

/* The same for three pixels at once. */
AOT_INLINE void aot_matrix_widen_three(uint32_t *tile, const int8_t *from0, const int8_t *from1, const int8_t *from2,
                                       int32_t words)
{
#if AOT_ARM_DSP
#pragma GCC unroll 4
    for (int32_t i = 0; i < words; ++i) {
        __asm__ volatile("ldr r8, [%1], #4\n ldr r10, [%2], #4\n ldr r12, [%3], #4\n"
                         "sxtb16 r4, r8, ror #8\n sxtb16 r5, r10, ror #8\n sxtb16 r6, r12, ror #8\n"
                         "rev16 r8, r8\n rev16 r10, r10\n rev16 r12, r12\n"
                         "eor r8, r8, #0x007F007F\n eor r10, r10, #0x007F007F\n eor r12, r12, #0x007F007F\n"
                         "stmia %0!, {r4, r5, r6, r8, r10, r12}\n"
                         : "+r"(tile), "+r"(from0), "+r"(from1), "+r"(from2)
                         :
                         : "r4", "r5", "r6", "r8", "r10", "r12", "memory");
    }
#else
    aot_matrix_widen(tile, from0, words);
    aot_matrix_widen(tile + 1, from1, words);
    aot_matrix_widen(tile + 2, from2, words);
#endif
}

/* Four of the inputs that are over when each row of a window is taken four by four, of all rows together. */
AOT_INLINE uint32_t aot_matrix_rest(const int8_t *from, int32_t pitch, int32_t length, int32_t rows, int32_t block)
{
    const int32_t each = length % 4;
    uint32_t word = 0;
#pragma GCC unroll 4
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t k = 4 * block + i;
        if (k < rows * each) {
            word |= (uint32_t)(uint8_t)from[k / each * pitch + length - each + k % each] << (8 * i);
        }
    }
    return word;
}

/* The inputs of a pixel's window, `rows` rows of `length` bytes which begin `pitch` bytes apart: fours, then the rest. */
AOT_INLINE void aot_matrix_window(uint32_t *tile, const int8_t *from, int32_t pitch, int32_t length, int32_t rows)
{
    for (int32_t row = 0; row < rows; ++row) {
        aot_matrix_widen(tile, from + row * pitch, length / 4);
        tile += AOT_MATRIX_WORDS * (length / 4);
    }
#pragma GCC unroll 8
    for (int32_t block = 0; 4 * block < rows * (length % 4); ++block) {
        const uint32_t word = aot_matrix_rest(from, pitch, length, rows, block);
        tile[0] = aot_odd_bytes(word);
        tile[3] = aot_matrix_even(word);
        tile += AOT_MATRIX_WORDS;
    }
}

/* The same for three pixels, whose windows begin `step` bytes apart. */
AOT_INLINE void aot_matrix_windows(uint32_t *tile, const int8_t *from, int32_t step, int32_t pitch, int32_t length,
                                   int32_t rows)
{
    for (int32_t row = 0; row < rows; ++row) {
        const int8_t *const start = from + row * pitch;
        aot_matrix_widen_three(tile, start, start + step, start + 2 * step, length / 4);
        tile += AOT_MATRIX_WORDS * (length / 4);
    }
#pragma GCC unroll 8
    for (int32_t block = 0; 4 * block < rows * (length % 4); ++block) {
        for (int32_t p = 0; p < AOT_MATRIX_PIXELS; ++p) {
            const uint32_t word = aot_matrix_rest(from + p * step, pitch, length, rows, block);
            tile[p] = aot_odd_bytes(word);
            tile[3 + p] = aot_matrix_even(word);
        }
        tile += AOT_MATRIX_WORDS;
    }
}

/* The same for inputs that are all one value, such as padding. */
AOT_INLINE void aot_matrix_fill(uint32_t *tile, int8_t value, int32_t words)
{
    const uint32_t word = (uint8_t)value * UINT32_C(0x01010101);
    for (int32_t i = 0; i < words; ++i) {
        tile[6 * i] = aot_odd_bytes(word);
        tile[6 * i + 3] = aot_matrix_even(word);
    }
}

/* Blocks of a tile in which all inputs are 0. */
AOT_INLINE void aot_matrix_clear(uint32_t *tile, int32_t blocks)
{
    for (int32_t i = 0; i < AOT_MATRIX_WORDS * blocks; ++i) {
        tile[i] = i % AOT_MATRIX_WORDS < AOT_MATRIX_PIXELS ? 0 : UINT32_C(0x007F007F);
    }
}

/*
 * Inputs of one pixel, whose words begin at `tile`, once more as inputs that are 0 until then; the places are constants.
 * The bytes of an even word are x1 ^ 0x7F, x0, x3 ^ 0x7F, x2.
 */
AOT_INLINE void aot_matrix_again(uint32_t *tile, int32_t from, int32_t to)
{
    const int8_t *const source = (const int8_t *)(tile + from / 4 * AOT_MATRIX_WORDS);
    int8_t *const target = (int8_t *)(tile + to / 4 * AOT_MATRIX_WORDS);
    const int16_t x = from % 2 != 0 ? source[from % 4 - 1] : source[12 + from % 4 + 1];
    if (to % 2 != 0) {
        memcpy(target + to % 4 - 1, &x, sizeof x);
        target[12 + to % 4 - 1] = (int8_t)(x ^ 0x7F);
    } else {
        target[12 + to % 4 + 1] = (int8_t)x;
    }
}

#if AOT_ARM_DSP

/* Blocks in the body of a loop: their number, its logarithm, and one less. */
#if defined(__OPTIMIZE_SIZE__)
#define AOT_MATRIX_UNROLL "2"
#define AOT_MATRIX_UNROLL_SHIFT "1"
#define AOT_MATRIX_UNROLL_LESS_ONE "1"
#else
#define AOT_MATRIX_UNROLL "8"
#define AOT_MATRIX_UNROLL_SHIFT "3"
#define AOT_MATRIX_UNROLL_LESS_ONE "7"
#endif

/* One block of a pair of channels: r3 r4 weights, r5-r7 inputs of three pixels, r8-r10 and r11 r12 lr sums. */
#define AOT_MATRIX_PAIR_BLOCK                                                                                   \
    "ldmia r0!, {r3, r4}\n"                                                                                     \
    "ldmia r1!, {r5, r6, r7}\n"                                                                                 \
    "smlad r8, r3, r5, r8\n smlad r9, r3, r6, r9\n smlad r10, r3, r7, r10\n"                                    \
    "smlad r11, r4, r5, r11\n smlad r12, r4, r6, r12\n smlad lr, r4, r7, lr\n"                                  \
    "sxtb16 r3, r3\n sxtb16 r4, r4\n"                                                                           \
    "ldmia r1!, {r5, r6, r7}\n"                                                                                 \
    "smlad r8, r3, r5, r8\n smlad r9, r3, r6, r9\n smlad r10, r3, r7, r10\n"                                    \
    "smlad r11, r4, r5, r11\n smlad r12, r4, r6, r12\n smlad lr, r4, r7, lr\n"

/*
 * Sum to output: requantize, then divide by 256 and saturate in one instruction. Dropping the lower half of the product
 * before the division changes nothing, since both round down and the half was added at the end.
 */
#define AOT_MATRIX_FINISH(sum, multiplier, offset)                                                              \
    "smmla " sum ", " sum ", " multiplier ", " offset "\n ssat " sum ", #8, " sum ", asr #8\n"

/*
 * What is added to six sums, r8-r10 and r11 r12 lr, before they are multiplied; the stream has both channels' factors
 * times 256 in front of the multipliers. The residual and its zero point are at 32 and 36 on the stack.
 */
#define AOT_MATRIX_RESIDUAL_START "ldrd r4, r5, [r3, #20]\n strd r4, r5, [sp, #32]\n"
#define AOT_MATRIX_RESIDUAL_SUM(sum, place, factor, zero)                                                       \
    "ldrsb r5, " place "\n" zero "mla " sum ", r5, " factor ", " sum "\n"
#define AOT_MATRIX_RESIDUAL_SUMS(zero)                                                                          \
    "ldmia r0!, {r3, r4}\n ldmia sp, {r1, r2}\n ldr r6, [sp, #32]\n"                                            \
    AOT_MATRIX_RESIDUAL_SUM("r8", "[r6]", "r3", zero) AOT_MATRIX_RESIDUAL_SUM("r9", "[r6, r1]", "r3", zero)     \
    AOT_MATRIX_RESIDUAL_SUM("r10", "[r6, r2]", "r3", zero) AOT_MATRIX_RESIDUAL_SUM("r11", "[r6, #1]!", "r4", zero) \
    AOT_MATRIX_RESIDUAL_SUM("r12", "[r6, r1]", "r4", zero) AOT_MATRIX_RESIDUAL_SUM("lr", "[r6, r2]", "r4", zero) \
    "adds r6, r6, #1\n str r6, [sp, #32]\n"
#define AOT_MATRIX_RESIDUAL AOT_MATRIX_RESIDUAL_SUMS("")
/* The same to sums of which those below 0 are cut off. */
#define AOT_MATRIX_RELU(sum) "bic " sum ", " sum ", " sum ", asr #31\n"
#define AOT_MATRIX_RESIDUAL_BEHIND_RELU                                                                         \
    AOT_MATRIX_RELU("r8") AOT_MATRIX_RELU("r9") AOT_MATRIX_RELU("r10")                                          \
    AOT_MATRIX_RELU("r11") AOT_MATRIX_RELU("r12") AOT_MATRIX_RELU("lr")                                         \
    "ldr r7, [sp, #36]\n" AOT_MATRIX_RESIDUAL_SUMS("sub r5, r5, r7\n")

#define AOT_MATRIX_PAIRS_ASSEMBLY(frame, start, residual)                                                       \
        ".syntax unified\n"                                                                                     \
        "push {r4-r11, lr}\n"                                                                                   \
        "sub sp, sp, #" frame "\n"                                                                              \
        "ldmia r3, {r4-r8}\n"           /* pixel1, pixel2, offset, blocks, pairs */                             \
        "stmia sp, {r4-r6}\n"           /* 0 pixel1, 4 pixel2, 8 offset */                                      \
        "strd r2, r1, [sp, #12]\n"      /* 12 output, 16 tile */                                                \
        "add r4, r7, #" AOT_MATRIX_UNROLL_LESS_ONE "\n lsr r4, r4, #" AOT_MATRIX_UNROLL_SHIFT "\n"              \
        "str r4, [sp, #20]\n"           /* 20 turns of the loop */                                              \
        "rsb r5, r7, r4, lsl #" AOT_MATRIX_UNROLL_SHIFT "\n" /* as many blocks are skipped in the first turn, of 62 bytes each */\
        "movs r6, #62\n mul r5, r5, r6\n adr.w r6, 2f\n add r5, r5, r6\n orr r5, r5, #1\n"                      \
        "strd r5, r8, [sp, #24]\n"      /* 24 where the first turn starts, 28 pairs */                          \
        start                                                                                                   \
        "1:\n"                                                                                                  \
        "ldmia r0!, {r8, r11}\n"                                                                                \
        "mov r9, r8\n mov r10, r8\n mov r12, r11\n mov lr, r11\n"                                               \
        "ldrd r1, r2, [sp, #16]\n"                                                                              \
        "ldr pc, [sp, #24]\n"                                                                                   \
        ".p2align 2\n"                                                                                          \
        "2:\n"                                                                                                  \
        ".rept " AOT_MATRIX_UNROLL "\n" AOT_MATRIX_PAIR_BLOCK ".endr\n"                                         \
        "subs r2, r2, #1\n bne 2b\n"                                                                            \
        residual                                                                                                \
        "ldmia r0!, {r3, r4}\n"                                                                                 \
        "ldmia sp, {r1, r2, r5, r6}\n"  /* pixel1, pixel2, offset, output */                                    \
        AOT_MATRIX_FINISH("r8", "r3", "r5") AOT_MATRIX_FINISH("r9", "r3", "r5") AOT_MATRIX_FINISH("r10", "r3", "r5")\
        AOT_MATRIX_FINISH("r11", "r4", "r5") AOT_MATRIX_FINISH("r12", "r4", "r5") AOT_MATRIX_FINISH("lr", "r4", "r5")\
        "strb r8, [r6]\n strb r9, [r6, r1]\n strb r10, [r6, r2]\n"                                              \
        "strb r11, [r6, #1]!\n strb r12, [r6, r1]\n strb lr, [r6, r2]\n"                                        \
        "adds r6, r6, #1\n str r6, [sp, #12]\n"                                                                 \
        "ldr r1, [sp, #28]\n subs r1, r1, #1\n str r1, [sp, #28]\n"                                             \
        "bne 1b\n"                                                                                              \
        "add sp, sp, #" frame "\n"                                                                              \
        "pop {r4-r11, pc}\n"

/* Three pixels times pairs of output channels, requantized and saturated to int8. */
AOT_ASSEMBLY static void aot_matrix_pairs(const uint32_t *stream AOT_UNUSED, const uint32_t *tile AOT_UNUSED,
                                          int8_t *output AOT_UNUSED, const aot_matrix *layer AOT_UNUSED)
{
    __asm__(AOT_MATRIX_PAIRS_ASSEMBLY("32", "", ""));
}

/* The same with a residual added. */
AOT_ASSEMBLY static void aot_matrix_pairs_add(const uint32_t *stream AOT_UNUSED, const uint32_t *tile AOT_UNUSED,
                                              int8_t *output AOT_UNUSED, const aot_matrix_sum *sum AOT_UNUSED)
{
    __asm__(AOT_MATRIX_PAIRS_ASSEMBLY("40", AOT_MATRIX_RESIDUAL_START, AOT_MATRIX_RESIDUAL));
}

/* The same with ReLU before that. */
AOT_ASSEMBLY static void aot_matrix_pairs_relu_add(const uint32_t *stream AOT_UNUSED, const uint32_t *tile AOT_UNUSED,
                                                   int8_t *output AOT_UNUSED, const aot_matrix_sum *sum AOT_UNUSED)
{
    __asm__(AOT_MATRIX_PAIRS_ASSEMBLY("40", AOT_MATRIX_RESIDUAL_START, AOT_MATRIX_RESIDUAL_BEHIND_RELU));
}

#else

/* One block: the new sum, modulo 2^32 as the instructions compute it. */
AOT_INLINE uint32_t aot_matrix_block(uint32_t weights, uint32_t odd, uint32_t even, uint32_t sum)
{
    sum += (uint32_t)aot_multiply_pairs(weights, odd, 0);
    return sum + (uint32_t)aot_multiply_pairs(aot_even_bytes(weights), even, 0);
}

/* Sum to output: requantize, divide by 256, saturate. */
AOT_INLINE int8_t aot_matrix_output(uint32_t sum, uint32_t multiplier, int32_t offset)
{
    const int64_t product = (int64_t)(int32_t)sum * (int32_t)multiplier;
    return aot_clamp((offset + (int32_t)(product >> 32)) >> 8, -128, 127);
}

/* Three pixels times pairs of output channels, requantized and saturated to int8; a residual stands in `sum`. */
AOT_INLINE void aot_matrix_pairs_c(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                   const aot_matrix *layer, const aot_matrix_sum *sum, enum aot_sum what)
{
    const int32_t place[AOT_MATRIX_PIXELS] = { 0, layer->pixel1, layer->pixel2 };
    for (int32_t pair = 0; pair < layer->pairs; ++pair) {
        const uint32_t *const behind = stream + 2 + 2 * layer->blocks;
        int8_t results[2][AOT_MATRIX_PIXELS]; /* the residual may be where the output goes */
        for (int32_t c = 0; c < 2; ++c) {
            const uint32_t multiplier = behind[what == AOT_SUM_ALONE ? c : 2 + c];
            for (int32_t p = 0; p < AOT_MATRIX_PIXELS; ++p) {
                uint32_t products = stream[c];
                for (int32_t i = 0; i < layer->blocks; ++i) {
                    products = aot_matrix_block(stream[2 + 2 * i + c], tile[6 * i + p], tile[6 * i + 3 + p], products);
                }
                if (what == AOT_SUM_RELU_ADD) {
                    products = (uint32_t)aot_max((int32_t)products, 0);
                }
                if (what != AOT_SUM_ALONE) {
                    products += behind[c] * (uint32_t)(sum->residual[2 * pair + c + place[p]] - sum->residual_zero);
                }
                results[c][p] = aot_matrix_output(products, multiplier, layer->offset);
            }
        }
        for (int32_t p = 0; p < AOT_MATRIX_PIXELS; ++p) {
            output[place[p]] = results[0][p];
            output[1 + place[p]] = results[1][p];
        }
        stream = behind + (what == AOT_SUM_ALONE ? 2 : 4);
        output += 2;
    }
}

AOT_INLINE void aot_matrix_pairs(const uint32_t *stream, const uint32_t *tile, int8_t *output, const aot_matrix *layer)
{
    aot_matrix_pairs_c(stream, tile, output, layer, NULL, AOT_SUM_ALONE);
}

/* The same with a residual added; the stream has both channels' factors, times 256, in front of the multipliers. */
AOT_INLINE void aot_matrix_pairs_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                     const aot_matrix_sum *sum)
{
    aot_matrix_pairs_c(stream, tile, output, &sum->layer, sum, AOT_SUM_ADD);
}

/* The same with ReLU before that. */
AOT_INLINE void aot_matrix_pairs_relu_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                          const aot_matrix_sum *sum)
{
    aot_matrix_pairs_c(stream, tile, output, &sum->layer, sum, AOT_SUM_RELU_ADD);
}

#endif

/* Three pixels times all output channels. Of an odd number, the first two pairs share a channel. */
AOT_INLINE void aot_matrix_channels(const uint32_t *stream, const uint32_t *tile, int8_t *output, aot_matrix layer,
                                    int32_t channels)
{
    if (channels % 2 != 0) {
        layer.pairs = 1;
        aot_matrix_pairs(stream, tile, output, &layer);
        stream += 4 + 2 * layer.blocks;
        output += 1;
    }
    layer.pairs = channels / 2;
    aot_matrix_pairs(stream, tile, output, &layer);
}

AOT_INLINE void aot_matrix_pairs_sum(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                     const aot_matrix_sum *sum, enum aot_sum what)
{
    if (what == AOT_SUM_ADD) {
        aot_matrix_pairs_add(stream, tile, output, sum);
    } else {
        aot_matrix_pairs_relu_add(stream, tile, output, sum);
    }
}

/* The same with a residual added to the sums. */
AOT_INLINE void aot_matrix_channels_add(const uint32_t *stream, const uint32_t *tile, int8_t *output, aot_matrix layer,
                                        int32_t channels, const int8_t *residual, int32_t residual_zero,
                                        enum aot_sum what)
{
    aot_matrix_sum sum = { layer, residual, residual_zero };
    if (channels % 2 != 0) {
        sum.layer.pairs = 1;
        aot_matrix_pairs_sum(stream, tile, output, &sum, what);
        stream += 6 + 2 * layer.blocks;
        output += 1;
        sum.residual += 1;
    }
    sum.layer.pairs = channels / 2;
    aot_matrix_pairs_sum(stream, tile, output, &sum, what);
}

/* The fused activation of one or three pixels, for the few layers whose limits are not those of int8. */
AOT_INLINE void aot_matrix_clamp_row(int8_t *output, int32_t length, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < length; ++i) {
        output[i] = aot_clamp(output[i], low, high);
    }
}

AOT_INLINE void aot_matrix_clamp(int8_t *output, aot_matrix layer, int32_t channels, int32_t low, int32_t high)
{
    aot_matrix_clamp_row(output, channels, low, high);
    aot_matrix_clamp_row(output + layer.pixel1, channels, low, high);
    aot_matrix_clamp_row(output + layer.pixel2, channels, low, high);
}

#endif
