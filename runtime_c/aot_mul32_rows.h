/*
 * Matrices times vectors where only 32 bits are multiplied, in the way of aot_mul32_matrix.h: one pixel, and rows of
 * weights in fours.
 */
#ifndef AOT_MUL32_ROWS_H
#define AOT_MUL32_ROWS_H

#include "aot_mul32_matrix.h"

enum { AOT_ROWS = 4 };

/* What aot_products_rows has to know; the assembly relies on this order. */
typedef struct {
    int32_t blocks;  /* blocks of four elements in this part of a sum */
    int32_t fours;   /* rows of weights, in fours */
} aot_products_part;

#if AOT_THUMB1

/* One row of a block, r5-r7 its inputs: r2 becomes four weights times them. */
#define AOT_PRODUCTS_FOUR                                                                                       \
    "lsrs r3, r2, #8\n ands r3, r4\n"                                                                           \
    "muls r2, r5\n muls r3, r6\n adds r2, r2, r3\n adds r2, r2, r7\n asrs r2, r2, #16\n"
/* Four rows, 74 bytes of instructions. */
#define AOT_PRODUCTS_ROWS                                                                                       \
    "ldmia r0!, {r5, r6, r7}\n"                                                                                 \
    "ldmia r1!, {r2}\n" AOT_PRODUCTS_FOUR "add r8, r2\n"                                                        \
    "ldmia r1!, {r2}\n" AOT_PRODUCTS_FOUR "add r9, r2\n"                                                        \
    "ldmia r1!, {r2}\n" AOT_PRODUCTS_FOUR "add r10, r2\n"                                                       \
    "ldmia r1!, {r2}\n" AOT_PRODUCTS_FOUR "add r11, r2\n"

/*
 * One pixel times four rows of weights after the other, block by block, added to a sum for each row; then the extra
 * words, whose upper half holds the place of the block in words and, times 2^7, the row. Answers where the stream goes
 * on.
 */
AOT_THUMB1_ASSEMBLY static const uint32_t *aot_products_rows(
    const uint32_t *stream AOT_THUMB1_UNUSED, const uint32_t *wide AOT_THUMB1_UNUSED, int32_t *sums AOT_THUMB1_UNUSED,
    const aot_products_part *part AOT_THUMB1_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n"
        "sub sp, sp, #20\n"
        "str r1, [sp, #0]\n str r2, [sp, #4]\n"     /* 0 inputs, 4 sums */
        "mov lr, r2\n"
        "movs r1, r0\n"
        "ldmia r3!, {r5, r6}\n"
        "str r6, [sp, #8]\n"                        /* 8 rows left, in fours */
        "lsls r6, r5, #4\n str r6, [sp, #12]\n"     /* 12 bytes of words of four rows */
        "movs r6, #1\n ands r5, r6\n"               /* an odd number of blocks starts in the middle of the loop */
        "movs r6, #74\n muls r5, r6\n"
        "adr r6, 2f\n adds r5, r5, r6\n adds r5, #1\n"
        "str r5, [sp, #16]\n"                       /* 16 where it starts */
        "ldr r4, =0x00FF00FF\n"
        "1:\n"
        "mov r0, lr\n ldmia r0!, {r5, r6, r7}\n mov r8, r5\n mov r9, r6\n mov r10, r7\n"
        "ldmia r0!, {r5}\n mov r11, r5\n"
        "ldr r5, [sp, #12]\n adds r5, r5, r1\n mov r12, r5\n"
        "ldr r0, [sp, #0]\n ldr r5, [sp, #16]\n bx r5\n"
        ".p2align 2\n"
        "2:\n"
        ".rept 2\n" AOT_PRODUCTS_ROWS ".endr\n"
        "cmp r1, r12\n bne 2b\n"
        "mov r0, lr\n mov r5, r8\n mov r6, r9\n mov r7, r10\n stmia r0!, {r5, r6, r7}\n"
        "mov r5, r11\n stmia r0!, {r5}\n mov lr, r0\n"
        "ldr r5, [sp, #8]\n subs r5, r5, #1\n str r5, [sp, #8]\n bne 1b\n"
        "b 4f\n"
        "3:\n"
        "lsrs r3, r0, #23\n lsls r3, r3, #2\n ldr r5, [sp, #4]\n adds r5, r5, r3\n mov r12, r5\n"
        "ldr r2, =0x80800000\n uxth r3, r0\n orrs r2, r3\n"
        "lsls r0, r0, #9\n lsrs r0, r0, #25\n lsls r0, r0, #2\n ldr r3, [sp, #0]\n adds r0, r0, r3\n"
        "ldmia r0!, {r5, r6, r7}\n"
        AOT_PRODUCTS_FOUR
        "mov r0, r12\n ldr r3, [r0]\n adds r3, r3, r2\n str r3, [r0]\n"
        "4:\n"
        "ldmia r1!, {r0}\n cmp r0, #0\n bge 3b\n"
        "movs r0, r1\n"
        "add sp, sp, #20\n"
        "pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "pop {r4-r7, pc}\n"
        ".p2align 2\n"
        ".pool\n");
}

#else

/* One pixel times four rows of weights after the other, and the extra words; as above. */
AOT_FUNCTION const uint32_t *aot_products_rows(const uint32_t *stream, const uint32_t *wide, int32_t *sums,
                                               const aot_products_part *part)
{
    for (int32_t four = 0; four < part->fours; ++four) {
        const uint32_t *block = wide;
        int32_t *const sum = sums + four * AOT_ROWS;
        int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
        for (int32_t i = 0; i < part->blocks; ++i) {
            s0 += aot_products_four(block, stream[0]);
            s1 += aot_products_four(block, stream[1]);
            s2 += aot_products_four(block, stream[2]);
            s3 += aot_products_four(block, stream[3]);
            block += AOT_BLOCK_WORDS;
            stream += AOT_ROWS;
        }
        sum[0] = s0;
        sum[1] = s1;
        sum[2] = s2;
        sum[3] = s3;
    }
    for (; *stream < AOT_EXTRA_END; ++stream) {
        sums[*stream >> 23] += aot_products_four(wide + ((*stream >> 16) & 127u), AOT_EXTRA_WORD(*stream));
    }
    return stream + 1;
}

#endif

/* `length` inputs of one pixel, the last four of which may be fewer. */
AOT_FUNCTION void aot_products_inputs(uint32_t *wide, const int8_t *from, int32_t length)
{
    const int32_t blocks = length / 4;
    int8_t rest[4] = { 0, 0, 0, 0 };
    aot_products_widen(wide, AOT_BLOCK_WORDS, from, blocks);
    if (length % 4 != 0) {
        memcpy(rest, from + 4 * blocks, (size_t)(length % 4));
        aot_products_block(wide + blocks * AOT_BLOCK_WORDS, aot_products_word(rest));
    }
}

/* Sums to outputs: requantize by the multipliers which the stream holds, saturate. Answers where the stream goes on. */
AOT_FUNCTION const uint32_t *aot_products_outputs(const uint32_t *stream, const int32_t *sums, int8_t *output,
                                                         int32_t rows, int32_t zero)
{
    for (int32_t i = 0; i < rows; ++i) {
        output[i] = aot_clamp(aot_requantize(sums[i], (int32_t)stream[i], zero), -128, 127);
    }
    return stream + rows;
}

#endif
