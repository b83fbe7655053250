/*
 * Matrices times vectors for processors with the Arm DSP extension, in the way of aot_dsp_matrix.h: one pixel, and rows of
 * weights in fours.
 *
 * Multipliers of 15 significant bits or fewer, with one exponent for all of a layer, can stand two to a word.
 */
#ifndef AOT_DSP_ROWS_H
#define AOT_DSP_ROWS_H

#include "aot_dsp_matrix.h"

enum { AOT_MATRIX_ROWS = 4 };

/* What aot_matrix_rows has to know; the assembly relies on this order. */
typedef struct {
    int32_t offset;      /* the zero point of the output, as it is added before the last shift, plus one half */
    int32_t byte_blocks; /* blocks of four elements that are read as bytes */
    int32_t wide_blocks; /* the rest, which was widened before */
    int32_t fours;       /* rows of weights, in fours */
    int32_t shift;       /* bits of the last shift: 8, or others with short multipliers */
} aot_rows;

/* The zero point as it is added before the last shift, with short multipliers. */
#define AOT_MATRIX_SHORT_OFFSET(zero, shift) ((zero) * (1 << (shift)) + (1 << ((shift) - 1)))

/* The inputs of a single pixel, for aot_matrix_rows: two words a block. */
AOT_INLINE void aot_matrix_widen_one(uint32_t *row, const int8_t *from, int32_t words)
{
#pragma GCC unroll 4
    for (int32_t i = 0; i < words; ++i) {
        const uint32_t word = aot_load_bytes(from + 4 * i);
        row[2 * i] = aot_odd_bytes(word);
        row[2 * i + 1] = aot_matrix_even(word);
    }
}

/* The inputs of a row from a given element on, of which the last block may be filled up with zeros. */
AOT_FUNCTION void aot_matrix_row_inputs(uint32_t *wide, const int8_t *from, int32_t length)
{
    aot_matrix_widen_one(wide, from, length / 4);
    if (length % 4 != 0) {
        int8_t rest[4] = { 0, 0, 0, 0 };
        for (int32_t i = 0; i < length % 4; ++i) {
            rest[i] = from[length / 4 * 4 + i];
        }
        aot_matrix_widen_one(wide + length / 4 * 2, rest, 1);
    }
}

#if AOT_ARM_DSP

/* One block of four rows: r3-r6 weights, r7 r8 inputs, r9-r12 sums. */
#define AOT_MATRIX_ROWS_BLOCK(inputs)                                                                           \
    "ldmia r0!, {r3, r4, r5, r6}\n"                                                                             \
    inputs                                                                                                      \
    "smlad r9, r3, r7, r9\n smlad r10, r4, r7, r10\n smlad r11, r5, r7, r11\n smlad r12, r6, r7, r12\n"         \
    "sxtb16 r3, r3\n sxtb16 r4, r4\n sxtb16 r5, r5\n sxtb16 r6, r6\n"                                           \
    "smlad r9, r3, r8, r9\n smlad r10, r4, r8, r10\n smlad r11, r5, r8, r11\n smlad r12, r6, r8, r12\n"
/* Its inputs, widened before or now. */
#define AOT_MATRIX_WIDE "ldmia r1!, {r7, r8}\n"
#define AOT_MATRIX_BYTES "ldr r8, [r1], #4\n sxtb16 r7, r8, ror #8\n rev16 r8, r8\n eor r8, r8, #0x007F007F\n"
/* From blocks in `blocks`: turns of the loop in r4, in r5 where the first turn starts, skipping some. */
#define AOT_MATRIX_ENTRY(blocks, bytes, loop)                                                                   \
    "add r4, " blocks ", #" AOT_MATRIX_UNROLL_LESS_ONE "\n lsr r4, r4, #" AOT_MATRIX_UNROLL_SHIFT "\n"           \
    "rsb r5, " blocks ", r4, lsl #" AOT_MATRIX_UNROLL_SHIFT "\n"                                                \
    "movs r6, #" bytes "\n mul r5, r5, r6\n adr.w r6, " loop "\n add r5, r5, r6\n orr r5, r5, #1\n"

/* The same with a multiplier in half a word, and a shift in r5. */
#define AOT_MATRIX_STORE_SHORT(sum, half, multiplier, offset, place)                                            \
    "smlaw" half " " sum ", " sum ", " multiplier ", " offset "\n asr " sum ", " sum ", r5\n"                   \
    "ssat " sum ", #8, " sum "\n strb " sum ", " place "\n"

/* Four sums r9-r12 to outputs at r8; r7 is the offset. */
#define AOT_MATRIX_ROWS_STORE                                                                                   \
    "ldmia r0!, {r3, r4, r5, r6}\n"                                                                             \
    AOT_MATRIX_FINISH("r9", "r3", "r7") AOT_MATRIX_FINISH("r10", "r4", "r7")                                    \
    AOT_MATRIX_FINISH("r11", "r5", "r7") AOT_MATRIX_FINISH("r12", "r6", "r7")                                   \
    "strb r9, [r8], #1\n strb r10, [r8], #1\n strb r11, [r8], #1\n strb r12, [r8], #1\n"
#define AOT_MATRIX_ROWS_STORE_SHORT                                                                             \
    "ldmia r0!, {r3, r4}\n ldr r5, [sp, #32]\n"                                                                 \
    AOT_MATRIX_STORE_SHORT("r9", "b", "r3", "r7", "[r8], #1") AOT_MATRIX_STORE_SHORT("r10", "t", "r3", "r7", "[r8], #1") \
    AOT_MATRIX_STORE_SHORT("r11", "b", "r4", "r7", "[r8], #1") AOT_MATRIX_STORE_SHORT("r12", "t", "r4", "r7", "[r8], #1")

#define AOT_MATRIX_ROWS_ASSEMBLY(store)                                                                         \
        ".syntax unified\n"                                                                                     \
        "push {r4-r11, lr}\n"                                                                                   \
        "ldr r4, [sp, #36]\n"           /* layer: above 9 saved registers */                                    \
        "sub sp, sp, #40\n"                                                                                     \
        "ldmia r4, {r7, r8, r9, r10}\n" /* offset, blocks of bytes, widened blocks, rows in fours */            \
        "ldr r4, [r4, #16]\n str r4, [sp, #32]\n" /* 32 shift */                                                \
        "strd r3, r7, [sp, #24]\n"      /* 24 output, 28 offset */                                              \
        "mov lr, r10\n"                                                                                         \
        AOT_MATRIX_ENTRY("r9", "54", "3f")                                                                      \
        "str r2, [sp, #12]\n"           /* 12 wide */                                                           \
        "strd r4, r5, [sp, #16]\n"      /* 16 turns, 20 start of the second loop */                             \
        AOT_MATRIX_ENTRY("r8", "66", "2f")                                                                      \
        "cmp r8, #0\n bne 8f\n adr.w r5, 9f\n orr r5, r5, #1\n 8:\n"                                            \
        "str r1, [sp, #0]\n"            /* 0 bytes */                                                           \
        "strd r4, r5, [sp, #4]\n"       /* 4 turns, 8 start of the first loop */                                \
        "1:\n"                                                                                                  \
        "ldmia r0!, {r9, r10, r11, r12}\n"                                                                      \
        "ldmia sp, {r1, r2, r3}\n"                                                                              \
        "bx r3\n"                                                                                               \
        ".p2align 2\n"                                                                                          \
        "2:\n"                                                                                                  \
        ".rept " AOT_MATRIX_UNROLL "\n" AOT_MATRIX_ROWS_BLOCK(AOT_MATRIX_BYTES) ".endr\n"                       \
        "subs r2, r2, #1\n bne 2b\n"                                                                            \
        "9:\n"                                                                                                  \
        "ldrd r1, r2, [sp, #12]\n"                                                                              \
        "ldr pc, [sp, #20]\n"                                                                                   \
        ".p2align 2\n"                                                                                          \
        "3:\n"                                                                                                  \
        ".rept " AOT_MATRIX_UNROLL "\n" AOT_MATRIX_ROWS_BLOCK(AOT_MATRIX_WIDE) ".endr\n"                        \
        "subs r2, r2, #1\n bne 3b\n"                                                                            \
        "ldrd r8, r7, [sp, #24]\n"      /* output, offset */                                                    \
        store                                                                                                   \
        "str r8, [sp, #24]\n"                                                                                   \
        "subs lr, lr, #1\n bne 1b\n"                                                                            \
        "add sp, sp, #40\n"                                                                                     \
        "pop {r4-r11, pc}\n"

/* One pixel times `fours` times four rows of weights: first blocks of bytes, then widened ones; as above. */
AOT_ASSEMBLY static void aot_matrix_rows(const uint32_t *stream AOT_UNUSED, const int8_t *bytes AOT_UNUSED,
                                         const uint32_t *wide AOT_UNUSED, int8_t *output AOT_UNUSED,
                                         const aot_rows *layer AOT_UNUSED)
{
    __asm__(AOT_MATRIX_ROWS_ASSEMBLY(AOT_MATRIX_ROWS_STORE));
}

/* The same with short multipliers. */
AOT_ASSEMBLY static void aot_matrix_rows_short(const uint32_t *stream AOT_UNUSED, const int8_t *bytes AOT_UNUSED,
                                               const uint32_t *wide AOT_UNUSED, int8_t *output AOT_UNUSED,
                                               const aot_rows *layer AOT_UNUSED)
{
    __asm__(AOT_MATRIX_ROWS_ASSEMBLY(AOT_MATRIX_ROWS_STORE_SHORT));
}

#else

/* Four sums of `layer`: one pixel times four rows of weights. Answers where the stream goes on. */
AOT_INLINE const uint32_t *aot_matrix_four(const uint32_t *stream, const int8_t *bytes, const uint32_t *wide,
                                           uint32_t sums[AOT_MATRIX_ROWS], const aot_rows *layer)
{
    const uint32_t *const first = stream + AOT_MATRIX_ROWS;
    for (int32_t r = 0; r < AOT_MATRIX_ROWS; ++r) {
        const uint32_t *weights = first + r;
        sums[r] = stream[r];
        for (int32_t i = 0; i < layer->byte_blocks; ++i) {
            const uint32_t word = aot_load_bytes(bytes + 4 * i);
            sums[r] = aot_matrix_block(*weights, aot_odd_bytes(word), aot_matrix_even(word), sums[r]);
            weights += AOT_MATRIX_ROWS;
        }
        for (int32_t i = 0; i < layer->wide_blocks; ++i) {
            sums[r] = aot_matrix_block(*weights, wide[2 * i], wide[2 * i + 1], sums[r]);
            weights += AOT_MATRIX_ROWS;
        }
    }
    return first + AOT_MATRIX_ROWS * (layer->byte_blocks + layer->wide_blocks);
}

/* One pixel times `fours` times four rows of weights: first blocks of bytes, then widened ones; as above. */
AOT_INLINE void aot_matrix_rows(const uint32_t *stream, const int8_t *bytes, const uint32_t *wide, int8_t *output,
                                const aot_rows *layer)
{
    for (int32_t four = 0; four < layer->fours; ++four) {
        uint32_t sums[AOT_MATRIX_ROWS];
        stream = aot_matrix_four(stream, bytes, wide, sums, layer);
        for (int32_t r = 0; r < AOT_MATRIX_ROWS; ++r) {
            *output++ = aot_matrix_output(sums[r], *stream++, layer->offset);
        }
    }
}

/* The same with short multipliers. */
AOT_INLINE void aot_matrix_rows_short(const uint32_t *stream, const int8_t *bytes, const uint32_t *wide,
                                      int8_t *output, const aot_rows *layer)
{
    for (int32_t four = 0; four < layer->fours; ++four) {
        uint32_t sums[AOT_MATRIX_ROWS];
        stream = aot_matrix_four(stream, bytes, wide, sums, layer);
        for (int32_t r = 0; r < AOT_MATRIX_ROWS; ++r) {
            const int64_t product = (int64_t)(int32_t)sums[r] * (int32_t)(stream[r / 2] >> 16 * (r % 2) & 0xFFFFu);
            *output++ = aot_clamp((layer->offset + (int32_t)(product >> 16)) >> layer->shift, -128, 127);
        }
        stream += AOT_MATRIX_ROWS / 2;
    }
}

#endif

#endif
