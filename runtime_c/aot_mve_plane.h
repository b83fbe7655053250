/*
 * Depthwise convolution 3 x 3 for processors with the Arm M-profile vector extension (little-endian).
 *
 * Four rows of the input are interleaved: a word holds one channel's values in four rows of a column. Four such words
 * are a vector, which holds the windows of two outputs beside each other, and of the two below them. The functions which
 * walk along such rows are made for their size and stand in the network's own file.
 */
#ifndef AOT_MVE_PLANE_H
#define AOT_MVE_PLANE_H

#include "aot_mve_matrix.h"

/* What is interleaved; the assembly relies on this order. */
typedef struct {
    const int8_t *from[4]; /* the rows */
    int32_t step[4];       /* bytes from one block of 16 to the next, for each row */
    int32_t length;        /* bytes to read of the first block, and by how much that changes from block to block */
    int32_t less;
} aot_mve_rows;

/* What a walk along four interleaved rows has to know; the assembly relies on this order. */
typedef struct {
    int32_t zero;      /* zero point of the output */
    int32_t channels;
    uint16_t eight[8]; /* where eight outputs are stored: the first of the first four, the first of the last four, ... */
    uint16_t four[4];  /* where four are */
} aot_mve_walk;

#if AOT_ARM_MVE

/* Blocks of 16 bytes of four rows to words. */
__attribute__((naked, noinline, unused)) static void aot_mve_interleave(int8_t *to AOT_UNUSED,
                                                                        const aot_mve_rows *rows AOT_UNUSED,
                                                                        int32_t blocks AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "ldmia r1, {r4-r11}\n"
        "dls lr, r2\n"
        "1:\n"
        "vldrb.8 q0, [r4]\n add r4, r4, r8\n vldrb.8 q1, [r5]\n add r5, r5, r9\n"
        "vldrb.8 q2, [r6]\n add r6, r6, r10\n vldrb.8 q3, [r7]\n add r7, r7, r11\n"
        "vst40.8 {q0, q1, q2, q3}, [r0]\n vst41.8 {q0, q1, q2, q3}, [r0]\n"
        "vst42.8 {q0, q1, q2, q3}, [r0]\n vst43.8 {q0, q1, q2, q3}, [r0]!\n"
        "le lr, 1b\n"
        "pop {r4-r11, pc}\n");
}

/* The same for blocks of which some have less than 16 bytes. */
__attribute__((naked, noinline, unused)) static void aot_mve_interleave_some(int8_t *to AOT_UNUSED,
                                                                             const aot_mve_rows *rows AOT_UNUSED,
                                                                             int32_t blocks AOT_UNUSED)
{
    __asm__(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "ldrd r3, r12, [r1, #32]\n"
        "ldmia r1, {r4-r11}\n"
        "dls lr, r2\n"
        "1:\n"
        "vctp.8 r3\n sub r3, r3, r12\n"
        "vpstttt\n vldrbt.8 q0, [r4]\n vldrbt.8 q1, [r5]\n vldrbt.8 q2, [r6]\n vldrbt.8 q3, [r7]\n"
        "add r4, r4, r8\n add r5, r5, r9\n add r6, r6, r10\n add r7, r7, r11\n"
        "vst40.8 {q0, q1, q2, q3}, [r0]\n vst41.8 {q0, q1, q2, q3}, [r0]\n"
        "vst42.8 {q0, q1, q2, q3}, [r0]\n vst43.8 {q0, q1, q2, q3}, [r0]!\n"
        "le lr, 1b\n"
        "pop {r4-r11, pc}\n");
}

#else

AOT_INLINE void aot_mve_interleave_some(int8_t *to, const aot_mve_rows *rows, int32_t blocks)
{
    int32_t length = rows->length;
    for (int32_t block = 0; block < blocks; ++block) {
        for (int32_t i = 0; i < 16; ++i) {
            for (int32_t row = 0; row < 4; ++row) {
                to[64 * block + 4 * i + row] = (int8_t)(i < length ? rows->from[row][rows->step[row] * block + i] : 0);
            }
        }
        length -= rows->less;
    }
}

AOT_INLINE void aot_mve_interleave(int8_t *to, const aot_mve_rows *rows, int32_t blocks)
{
    aot_mve_rows whole = *rows;
    whole.length = 16;
    whole.less = 0;
    aot_mve_interleave_some(to, &whole, blocks);
}

/* One output: the word of its window's first column, `pitch` bytes to the next column, weights column by column. */
AOT_INLINE int32_t aot_mve_window(const int8_t *word, int32_t pitch, const int8_t *weights, int32_t row)
{
    int32_t sum = 0;
    for (int32_t column = 0; column < 3; ++column) {
        for (int32_t y = 0; y < 3; ++y) {
            sum += word[column * pitch + row + y] * weights[4 * column + y];
        }
    }
    return sum;
}

#endif

#endif
