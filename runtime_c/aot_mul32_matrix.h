/*
 * Matrix products where only 32 bits are multiplied, as on Cortex-M0 and RV32IMC (little-endian): two products of int8
 * in each multiplication.
 *
 * In (x0 + 2^16 x1) * (w1 + 2^16 w0) the factor of 2^16 is x0 w0 + x1 w1, and below it lies x0 w1, which is of less
 * than half that size. So four weights with |w0| + |w1| + |w2| + |w3| <= 255 meet four inputs as
 *
 *     ((x0 + 2^16 x2) * (w2 + 2^16 w0) + (x1 + 2^16 x3) * (w3 + 2^16 w1) + 2^15) >> 16
 *
 * which is exactly their sum of products. Weights are one word of bytes, each plus 128: A + 256 B for A the pair
 * (w2, w0) and B the pair (w3, w1). With inputs E = (x0, x2) and O = (x1, x3), and modulo 2^32,
 *
 *     E A + O B  =  E (A + 256 B) + (O - 256 E) B
 *
 * so only B is taken out of the word. A block of a tile holds E, O - 256 E and the constant that takes the 128s out
 * again and rounds.
 *
 * Where four weights are larger, w2 and w3 are smaller there by what an extra word brings back: it has two weights in
 * its lower half, like any word, and in its upper half where in the tile the block lies that they meet, in words.
 *
 * The weights of a layer are one stream in the order of their use. After the words of a channel, in the order of the
 * inputs, come its extra ones; the channel's multiplier, with its uppermost bit set, ends these. Where a residual is added
 * to the sums, the channel's factor of that comes last.
 */
#ifndef AOT_MUL32_MATRIX_H
#define AOT_MUL32_MATRIX_H

#include "aot_fixed.h"

enum { AOT_PIXELS = 4, AOT_BLOCK_WORDS = 3, AOT_TILE_WORDS = 12 };

/* What aot_products_pixels has to know besides its pointers; the assembly relies on this order. */
typedef struct {
    int32_t pixel[3];  /* distances in bytes from the output of pixel 0 to that of the others */
    int32_t offset;    /* the zero point of the output and one half, times 2^16 */
    int32_t blocks;    /* blocks of four elements in a sum */
    int32_t channels;  /* output channels */
} aot_products;

/* The same where a residual is added to the sums. */
typedef struct {
    aot_products layer;
    const int8_t *residual; /* for the place of the first output, in the same order */
    int32_t residual_zero;  /* its zero point, if sums below 0 are cut off before; if not, the biases know it */
} aot_products_sum;

/* The zero point as it is added before a sum is divided by 2^16. */
#define AOT_PRODUCTS_OFFSET(zero) (65536 * (zero) + 32768)

/*
 * For a tile of which `left` pixels are inside the layer; a pixel's output has `out_c` bytes. Pixel 0 is written last,
 * so that those which are not inside may take its place.
 */
AOT_INLINE aot_products aot_products_layer(int32_t left, int32_t out_c, int32_t zero, int32_t blocks,
                                           int32_t channels)
{
    aot_products layer;
    for (int32_t p = 1; p < AOT_PIXELS; ++p) {
        layer.pixel[p - 1] = p < left ? p * out_c : 0;
    }
    layer.offset = AOT_PRODUCTS_OFFSET(zero);
    layer.blocks = blocks;
    layer.channels = channels;
    return layer;
}

/* One block from four inputs as the bytes of a word. */
AOT_INLINE void aot_products_block(uint32_t *to, uint32_t word)
{
    const uint32_t mask = 0x00FF00FFu;
    const uint32_t both = 0x00800080u;
    const uint32_t biased = word ^ 0x80808080u;
    const uint32_t even = (biased & mask) - both;
    const uint32_t odd = ((biased >> 8) & mask) - both;
    to[0] = even;
    to[1] = odd - (even << 8);
    to[2] = 0x8000u - (even + odd) * both;
}

AOT_INLINE uint32_t aot_products_word(const int8_t *from)
{
    return (uint32_t)(uint8_t)from[0] | ((uint32_t)(uint8_t)from[1] << 8) | ((uint32_t)(uint8_t)from[2] << 16)
        | ((uint32_t)(uint8_t)from[3] << 24);
}

/* `blocks` times four inputs, to blocks which are `step` words apart. Words are read as such where they are aligned. */
AOT_FUNCTION void aot_products_widen(uint32_t *to, int32_t step, const int8_t *from, int32_t blocks)
{
    if ((uintptr_t)from % 4u == 0u) {
        for (; blocks > 0; --blocks) {
            uint32_t word;
#if defined(__GNUC__)
            memcpy(&word, __builtin_assume_aligned(from, 4), 4);
#else
            memcpy(&word, from, 4);
#endif
            aot_products_block(to, word);
            to += step;
            from += 4;
        }
    } else {
        for (; blocks > 0; --blocks) {
            aot_products_block(to, aot_products_word(from));
            to += step;
            from += 4;
        }
    }
}

/* The same for inputs that are all one value, such as padding. */
AOT_FUNCTION void aot_products_fill(uint32_t *to, int32_t step, int8_t value, int32_t blocks)
{
    uint32_t block[AOT_BLOCK_WORDS];
    aot_products_block(block, (uint8_t)value * UINT32_C(0x01010101));
    for (; blocks > 0; --blocks) {
        to[0] = block[0];
        to[1] = block[1];
        to[2] = block[2];
        to += step;
    }
}

#if AOT_THUMB1

/* A few bytes, at least one, to a row which is widened later. */
AOT_THUMB1_ASSEMBLY static void aot_products_copy(int8_t *to AOT_THUMB1_UNUSED, const int8_t *from AOT_THUMB1_UNUSED,
                                                  int32_t length AOT_THUMB1_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "1: subs r2, r2, #1\n ldrb r3, [r1, r2]\n strb r3, [r0, r2]\n bne 1b\n"
        "bx lr\n");
}

/* Sum to output: requantize (as aot_requantize does), saturate, store. r2 r3: multiplier; lr: offset. */
#define AOT_PRODUCTS_STORE(sum, place)                                                                          \
    "mov r4, " sum "\n uxth r5, r4\n asrs r4, r4, #16\n"                                                        \
    "movs r6, r5\n muls r6, r2\n lsrs r6, r6, #16\n"                                                            \
    "muls r5, r3\n movs r7, r4\n muls r7, r2\n muls r4, r3\n"                                                   \
    "adds r6, r6, r7\n adds r5, r5, r6\n add r5, lr\n asrs r5, r5, #16\n adds r5, r5, r4\n"                     \
    "sxtb r6, r5\n cmp r6, r5\n beq 8f\n"                                                                       \
    "asrs r5, r5, #31\n movs r6, #127\n eors r5, r6\n"                                                          \
    "8:\n strb r5, " place "\n"

/* One pixel and four weights, r2 A + 256 B and r3 B. */
#define AOT_PRODUCTS_PIXEL(sum)                                                                                 \
    "ldmia r0!, {r5, r6, r7}\n"                                                                                 \
    "muls r5, r2\n muls r6, r3\n adds r5, r6\n adds r5, r7\n asrs r5, #16\n add " sum ", r5\n"

/* Four pixels, 62 bytes of instructions with the one that loads the weights to r2. */
#define AOT_PRODUCTS_BLOCK                                                                                      \
    "lsrs r3, r2, #8\n ands r3, r4\n"                                                                           \
    AOT_PRODUCTS_PIXEL("r8") AOT_PRODUCTS_PIXEL("r9") AOT_PRODUCTS_PIXEL("r10") AOT_PRODUCTS_PIXEL("r11")

/*
 * What is added to four sums r8-r11; r0 is the multiplier, r1 the stream. The residual and its zero point are at 36 and
 * 40 on the stack.
 */
#define AOT_PRODUCTS_RESIDUAL_START "ldmia r3!, {r6, r7}\n str r6, [sp, #36]\n str r7, [sp, #40]\n"
#define AOT_PRODUCTS_RESIDUAL_SUM(sum, place, zero)                                                             \
    place "ldrsb r6, [r5, r2]\n" zero "muls r6, r4\n add " sum ", r6\n"
#define AOT_PRODUCTS_RESIDUAL_SUMS(zero)                                                                        \
    "ldmia r1!, {r4}\n ldr r5, [sp, #36]\n"                                                                     \
    AOT_PRODUCTS_RESIDUAL_SUM("r11", "ldr r2, [sp, #16]\n", zero)                                               \
    AOT_PRODUCTS_RESIDUAL_SUM("r10", "ldr r2, [sp, #12]\n", zero)                                               \
    AOT_PRODUCTS_RESIDUAL_SUM("r9", "ldr r2, [sp, #8]\n", zero)                                                 \
    AOT_PRODUCTS_RESIDUAL_SUM("r8", "movs r2, #0\n", zero)                                                      \
    "adds r5, r5, #1\n str r5, [sp, #36]\n"
#define AOT_PRODUCTS_RESIDUAL AOT_PRODUCTS_RESIDUAL_SUMS("")
/* The same to sums of which those below 0 are cut off. */
#define AOT_PRODUCTS_RELU(sum) "mov r2, " sum "\n asrs r3, r2, #31\n bics r2, r3\n mov " sum ", r2\n"
#define AOT_PRODUCTS_RESIDUAL_BEHIND_RELU                                                                       \
    AOT_PRODUCTS_RELU("r8") AOT_PRODUCTS_RELU("r9") AOT_PRODUCTS_RELU("r10") AOT_PRODUCTS_RELU("r11")           \
    "ldr r7, [sp, #40]\n" AOT_PRODUCTS_RESIDUAL_SUMS("subs r6, r6, r7\n")

#define AOT_PRODUCTS_PIXELS_ASSEMBLY(frame, start, residual)                                                    \
        ".syntax unified\n"                                                                                     \
        "push {r4-r7, lr}\n"                                                                                    \
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n"                                  \
        "sub sp, sp, #" frame "\n"                                                                              \
        "str r1, [sp, #0]\n str r2, [sp, #4]\n"     /* 0 tile, 4 output */                                      \
        "movs r1, r0\n"                                                                                         \
        "ldmia r3!, {r4, r5, r6, r7}\n"             /* distances of three pixels, offset */                     \
        "str r4, [sp, #8]\n str r5, [sp, #12]\n str r6, [sp, #16]\n"                                            \
        "mov lr, r7\n"                                                                                          \
        "ldmia r3!, {r4, r5}\n"                     /* blocks, channels */                                      \
        "str r5, [sp, #20]\n"                       /* 20 channels left */                                      \
        start                                                                                                   \
        "lsls r5, r4, #2\n str r5, [sp, #24]\n"     /* 24 bytes of a channel's words */                         \
        "negs r5, r4\n movs r6, #3\n ands r5, r6\n" /* as many blocks are skipped in the first turn of the loop */\
        "movs r6, #62\n muls r5, r6\n adr r6, 2f\n adds r5, r5, r6\n adds r5, #1\n"                             \
        "str r5, [sp, #28]\n"                       /* 28 where it starts */                                    \
        "ldr r4, =0x00FF00FF\n str r4, [sp, #32]\n" /* 32 mask of bytes */                                      \
        "1:\n"                                                                                                  \
        "ldmia r1!, {r2}\n"                                                                                     \
        "mov r8, r2\n mov r9, r2\n mov r10, r2\n mov r11, r2\n"                                                 \
        "ldr r3, [sp, #24]\n adds r3, r3, r1\n mov r12, r3\n"                                                   \
        "ldr r0, [sp, #0]\n ldr r4, [sp, #32]\n ldr r3, [sp, #28]\n bx r3\n"                                    \
        ".p2align 2\n"                                                                                          \
        "2:\n"                                                                                                  \
        ".rept 4\n ldmia r1!, {r2}\n" AOT_PRODUCTS_BLOCK ".endr\n"                                              \
        "cmp r1, r12\n bne 2b\n"                                                                                \
        "b 4f\n"                                                                                                \
        "3:\n"                                                                                                  \
        "ldr r2, =0x80800000\n uxth r3, r0\n orrs r2, r3\n"                                                     \
        "lsrs r0, r0, #16\n lsls r0, r0, #2\n ldr r3, [sp, #0]\n adds r0, r0, r3\n"                             \
        AOT_PRODUCTS_BLOCK                                                                                      \
        "4:\n"                                                                                                  \
        "ldmia r1!, {r0}\n cmp r0, #0\n bge 3b\n"                                                               \
        residual                                                                                                \
        "mov r12, r1\n"                                                                                         \
        "uxth r2, r0\n lsls r3, r0, #1\n lsrs r3, r3, #17\n"                                                    \
        "ldr r0, [sp, #4]\n"                                                                                    \
        "ldr r1, [sp, #16]\n" AOT_PRODUCTS_STORE("r11", "[r0, r1]")                                             \
        "ldr r1, [sp, #12]\n" AOT_PRODUCTS_STORE("r10", "[r0, r1]")                                             \
        "ldr r1, [sp, #8]\n" AOT_PRODUCTS_STORE("r9", "[r0, r1]")                                               \
        AOT_PRODUCTS_STORE("r8", "[r0]")                                                                        \
        "adds r0, r0, #1\n str r0, [sp, #4]\n"                                                                  \
        "mov r1, r12\n"                                                                                         \
        "ldr r2, [sp, #20]\n subs r2, r2, #1\n str r2, [sp, #20]\n"                                             \
        "beq 5f\n b 1b\n"                                                                                       \
        "5:\n"                                                                                                  \
        "movs r0, r1\n"                                                                                         \
        "add sp, sp, #" frame "\n"                                                                              \
        "pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"                                   \
        "pop {r4-r7, pc}\n"                                                                                     \
        ".p2align 2\n"                                                                                          \
        ".pool\n"

/* Four pixels times output channels, requantized and saturated to int8. Answers where the stream goes on. */
AOT_THUMB1_ASSEMBLY static const uint32_t *aot_products_pixels(
    const uint32_t *stream AOT_THUMB1_UNUSED, const uint32_t *tile AOT_THUMB1_UNUSED, int8_t *output AOT_THUMB1_UNUSED,
    const aot_products *layer AOT_THUMB1_UNUSED)
{
    __asm__(AOT_PRODUCTS_PIXELS_ASSEMBLY("36", "", ""));
}

/* The same with a residual added to the sums. */
AOT_THUMB1_ASSEMBLY static const uint32_t *aot_products_pixels_add(
    const uint32_t *stream AOT_THUMB1_UNUSED, const uint32_t *tile AOT_THUMB1_UNUSED, int8_t *output AOT_THUMB1_UNUSED,
    const aot_products_sum *sum AOT_THUMB1_UNUSED)
{
    __asm__(AOT_PRODUCTS_PIXELS_ASSEMBLY("44", AOT_PRODUCTS_RESIDUAL_START, AOT_PRODUCTS_RESIDUAL));
}

/* The same with ReLU before that. */
AOT_THUMB1_ASSEMBLY static const uint32_t *aot_products_pixels_relu_add(
    const uint32_t *stream AOT_THUMB1_UNUSED, const uint32_t *tile AOT_THUMB1_UNUSED, int8_t *output AOT_THUMB1_UNUSED,
    const aot_products_sum *sum AOT_THUMB1_UNUSED)
{
    __asm__(AOT_PRODUCTS_PIXELS_ASSEMBLY("44", AOT_PRODUCTS_RESIDUAL_START, AOT_PRODUCTS_RESIDUAL_BEHIND_RELU));
}

#else

/* The word of weights which an extra word stands for; what is not smaller ends the extra words. */
#define AOT_EXTRA_WORD(extra) (((extra) & 0xFFFFu) | 0x80800000u)
#define AOT_EXTRA_END 0x80000000u

AOT_INLINE void aot_products_copy(int8_t *to, const int8_t *from, int32_t length)
{
    memcpy(to, from, (size_t)length);
}

/* Four weights times one block. */
AOT_INLINE int32_t aot_products_four(const uint32_t *block, uint32_t weights)
{
    return (int32_t)(block[0] * weights + block[1] * ((weights >> 8) & 0x00FF00FFu) + block[2]) >> 16;
}

AOT_INLINE int8_t aot_products_output(int32_t sum, int32_t multiplier, const aot_products *layer)
{
    return aot_clamp(aot_requantize(sum, multiplier, layer->offset >> 16), -128, 127);
}

/* The extra words of a channel, of that index, added to its sums of four pixels, then requantized and stored. */
AOT_INLINE const uint32_t *aot_products_finish(const uint32_t *stream, const uint32_t *tile, int32_t sums[AOT_PIXELS],
                                               int8_t *output, int32_t channel, const aot_products *layer,
                                               const aot_products_sum *sum, enum aot_sum what)
{
    for (; *stream < AOT_EXTRA_END; ++stream) {
        for (int32_t p = 0; p < AOT_PIXELS; ++p) {
            const uint32_t *from = tile + (*stream >> 16) + p * AOT_BLOCK_WORDS;
            sums[p] += aot_products_four(from, AOT_EXTRA_WORD(*stream));
        }
    }
    const int32_t multiplier = (int32_t)(*stream++ & 0x7FFFFFFFu);
    if (what != AOT_SUM_ALONE) {
        const int32_t factor = (int32_t)*stream++;
        for (int32_t p = 0; p < AOT_PIXELS; ++p) {
            const int32_t value = sum->residual[channel + (p > 0 ? layer->pixel[p - 1] : 0)];
            sums[p] = what == AOT_SUM_ADD ? sums[p] + factor * value
                                          : aot_max(sums[p], 0) + factor * (value - sum->residual_zero);
        }
    }
    output += channel;
    for (int32_t p = AOT_PIXELS - 1; p > 0; --p) {
        output[layer->pixel[p - 1]] = aot_products_output(sums[p], multiplier, layer);
    }
    output[0] = aot_products_output(sums[0], multiplier, layer);
    return stream;
}

/* Four pixels times output channels, requantized and saturated to int8. Answers where the stream goes on. */
AOT_INLINE const uint32_t *aot_products_pixels_c(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                 const aot_products *layer, const aot_products_sum *sum,
                                                 enum aot_sum what)
{
    for (int32_t c = 0; c < layer->channels; ++c) {
        const int32_t bias = (int32_t)*stream++;
        int32_t sums[AOT_PIXELS] = { bias, bias, bias, bias };
        for (int32_t i = 0; i < layer->blocks; ++i) {
            for (int32_t p = 0; p < AOT_PIXELS; ++p) {
                sums[p] += aot_products_four(tile + i * AOT_TILE_WORDS + p * AOT_BLOCK_WORDS, *stream);
            }
            ++stream;
        }
        stream = aot_products_finish(stream, tile, sums, output, c, layer, sum, what);
    }
    return stream;
}

AOT_INLINE const uint32_t *aot_products_pixels(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                               const aot_products *layer)
{
    return aot_products_pixels_c(stream, tile, output, layer, NULL, AOT_SUM_ALONE);
}

/* The same with a residual added to the sums. */
AOT_INLINE const uint32_t *aot_products_pixels_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                   const aot_products_sum *sum)
{
    return aot_products_pixels_c(stream, tile, output, &sum->layer, sum, AOT_SUM_ADD);
}

/* The same with ReLU before that. */
AOT_INLINE const uint32_t *aot_products_pixels_relu_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                        const aot_products_sum *sum)
{
    return aot_products_pixels_c(stream, tile, output, &sum->layer, sum, AOT_SUM_RELU_ADD);
}

/* The same for channels whose words come two by two; of an odd number the last partner is zeros. */
AOT_INLINE const uint32_t *aot_products_pairs_c(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                const aot_products *layer, const aot_products_sum *sum,
                                                enum aot_sum what)
{
    for (int32_t c = 0; c < layer->channels; c += 2) {
        const uint32_t *block = tile;
        const uint32_t *const end = stream + 2 + 2 * layer->blocks;
        int32_t a0 = (int32_t)stream[0], a1 = a0, a2 = a0, a3 = a0;
        int32_t b0 = (int32_t)stream[1], b1 = b0, b2 = b0, b3 = b0;
        for (stream += 2; stream != end; stream += 2) {
            const uint32_t a = stream[0];
            const uint32_t b = stream[1];
            const uint32_t a_odd = (a >> 8) & 0x00FF00FFu;
            const uint32_t b_odd = (b >> 8) & 0x00FF00FFu;
            a0 += (int32_t)(block[0] * a + block[1] * a_odd + block[2]) >> 16;
            b0 += (int32_t)(block[0] * b + block[1] * b_odd + block[2]) >> 16;
            a1 += (int32_t)(block[3] * a + block[4] * a_odd + block[5]) >> 16;
            b1 += (int32_t)(block[3] * b + block[4] * b_odd + block[5]) >> 16;
            a2 += (int32_t)(block[6] * a + block[7] * a_odd + block[8]) >> 16;
            b2 += (int32_t)(block[6] * b + block[7] * b_odd + block[8]) >> 16;
            a3 += (int32_t)(block[9] * a + block[10] * a_odd + block[11]) >> 16;
            b3 += (int32_t)(block[9] * b + block[10] * b_odd + block[11]) >> 16;
            block += AOT_TILE_WORDS;
        }
        int32_t a_sums[AOT_PIXELS] = { a0, a1, a2, a3 };
        int32_t b_sums[AOT_PIXELS] = { b0, b1, b2, b3 };
        stream = aot_products_finish(stream, tile, a_sums, output, c, layer, sum, what);
        if (c + 1 < layer->channels) {
            stream = aot_products_finish(stream, tile, b_sums, output, c + 1, layer, sum, what);
        } else {
            stream += what == AOT_SUM_ALONE ? 1 : 2; /* the multiplier of a row of zeros, and its factor */
        }
    }
    return stream;
}

AOT_FUNCTION const uint32_t *aot_products_pairs(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                const aot_products *layer)
{
    return aot_products_pairs_c(stream, tile, output, layer, NULL, AOT_SUM_ALONE);
}

/* The same with a residual added to the sums. */
AOT_FUNCTION const uint32_t *aot_products_pairs_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                    const aot_products_sum *sum)
{
    return aot_products_pairs_c(stream, tile, output, &sum->layer, sum, AOT_SUM_ADD);
}

/* The same with ReLU before that. */
AOT_FUNCTION const uint32_t *aot_products_pairs_relu_add(const uint32_t *stream, const uint32_t *tile, int8_t *output,
                                                         const aot_products_sum *sum)
{
    return aot_products_pairs_c(stream, tile, output, &sum->layer, sum, AOT_SUM_RELU_ADD);
}

#endif

/* The fused activation, for the few layers whose limits are not those of int8. */
AOT_FUNCTION void aot_products_clamp(int8_t *output, int32_t length, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < length; ++i) {
        output[i] = aot_clamp(output[i], low, high);
    }
}

#endif
