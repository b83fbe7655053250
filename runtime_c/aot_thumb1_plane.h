/*
 * Depthwise convolution 3 x 3 on one channel at a time, for processors that run Thumb instructions only,
 * such as Cortex-M0 (little-endian): two outputs in each multiplication of 32 bits.
 *
 * The channel lies on a padded plane of words a + 2^16 b, where b is the element so far from a as the two outputs are
 * from each other. A weight times such a word is a product for each of them. Three of these are summed before they are
 * taken apart, which is exact as long as the weights' magnitudes are at most 255 together; where they are larger, a
 * part of them comes in a second set.
 */
#ifndef AOT_THUMB1_PLANE_H
#define AOT_THUMB1_PLANE_H

#include "aot_fixed.h"

enum { AOT_FILTER_WORDS = 12, AOT_FILTER_MORE = 9 };

/* How a filter walks along a line of outputs; the assembly relies on this order. Steps are in bytes. */
typedef struct {
    int32_t column;    /* from the end of three words to the next three of the window */
    int32_t next;      /* from the end of a window to the start of the next one */
    int32_t offset;    /* the zero point of the output and one half, times 2^16 */
    int32_t distance;  /* from the first output to the second one */
    int32_t step;      /* from output to output */
    int32_t count;     /* outputs in the line, two at a time */
} aot_walk;

/* The filter of a channel, three weights at a time; after the first three comes the bias, at the end the multiplier. */
AOT_FUNCTION void aot_filter_load(int32_t *filter, const int8_t *weights, const int8_t *more, int32_t bias,
                                        int32_t multiplier)
{
    for (int32_t i = 0; i < 3; ++i) {
        *filter++ = weights[0];
        *filter++ = weights[1];
        *filter++ = weights[2];
        weights += 3;
        if (i == 0) {
            *filter++ = bias;
        }
        if (more != NULL) {
            *filter++ = more[0];
            *filter++ = more[1];
            *filter++ = more[2];
            more += 3;
        }
    }
    filter[0] = multiplier & 0xFFFF;
    filter[1] = multiplier >> 16;
}

/* `count` words, `step` words apart, from two rows of bytes whose elements are so many bytes apart. */
AOT_FUNCTION void aot_plane_words(uint32_t *to, int32_t step, const int8_t *first, int32_t first_step,
                                        const int8_t *second, int32_t second_step, int32_t count)
{
    for (; count > 0; --count) {
        *to = (uint32_t)*first + ((uint32_t)*second << 16);
        to += step;
        first += first_step;
        second += second_step;
    }
}

/* All of the plane to one value. */
AOT_FUNCTION void aot_plane_set(uint32_t *plane, int8_t value, int32_t words)
{
    for (; words > 0; --words) {
        *plane++ = (uint32_t)value + ((uint32_t)value << 16);
    }
}

#if AOT_THUMB1

/* Three words r2-r4 times three weights r5-r7. */
#define AOT_PLANE_THREE                                                                                         \
    "ldmia r0!, {r2, r3, r4}\n ldmia r1!, {r5, r6, r7}\n"                                                       \
    "muls r2, r5\n muls r3, r6\n muls r4, r7\n adds r2, r2, r3\n adds r2, r2, r4\n"
/* The first sums r8 r9, with the bias; r10: one half. */
#define AOT_PLANE_FIRST                                                                                         \
    AOT_PLANE_THREE                                                                                             \
    "ldmia r1!, {r4}\n sxth r3, r2\n adds r3, r3, r4\n mov r8, r3\n"                                            \
    "add r2, r10\n asrs r2, r2, #16\n adds r2, r2, r4\n mov r9, r2\n"
#define AOT_PLANE_ADD                                                                                           \
    AOT_PLANE_THREE                                                                                             \
    "sxth r3, r2\n add r8, r3\n add r2, r10\n asrs r2, r2, #16\n add r9, r2\n"
#define AOT_PLANE_COLUMN "add r0, r11\n"
#define AOT_PLANE_AGAIN "subs r0, #12\n" AOT_PLANE_ADD
/* Sum to output r6: requantize (as aot_requantize does) and saturate; r4 r5: multiplier, lr: offset. */
#define AOT_PLANE_OUTPUT(sum)                                                                                   \
    "mov r3, " sum "\n uxth r6, r3\n asrs r3, r3, #16\n"                                                        \
    "movs r7, r6\n muls r7, r4\n lsrs r7, r7, #16\n"                                                            \
    "muls r6, r5\n movs r2, r3\n muls r2, r4\n muls r3, r5\n"                                                   \
    "adds r7, r7, r2\n adds r6, r6, r7\n add r6, lr\n asrs r6, r6, #16\n adds r6, r6, r3\n"                     \
    "sxtb r7, r6\n cmp r7, r6\n beq 8f\n"                                                                       \
    "asrs r6, r6, #31\n movs r7, #127\n eors r6, r7\n"                                                          \
    "8:\n"

#define AOT_PLANE_LINE(first, second, third, words)                                                             \
    __asm__(                                                                                                    \
        ".syntax unified\n"                                                                                     \
        "push {r4-r7, lr}\n"                                                                                    \
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n"                                  \
        "sub sp, sp, #16\n"                                                                                     \
        "str r2, [sp, #0]\n"                     /* 0 output */                                                 \
        "ldmia r3!, {r5, r6, r7}\n mov r11, r5\n mov r12, r6\n mov lr, r7\n"                                    \
        "ldmia r3!, {r5, r6, r7}\n"                                                                             \
        "muls r7, r6\n adds r2, r2, r7\n"                                                                       \
        "str r5, [sp, #4]\n str r6, [sp, #8]\n"  /* 4 distance, 8 step */                                       \
        "str r2, [sp, #12]\n"                    /* 12 end */                                                   \
        "movs r5, #1\n lsls r5, r5, #15\n mov r10, r5\n"                                                        \
        "1:\n"                                                                                                  \
        first AOT_PLANE_COLUMN second AOT_PLANE_COLUMN third                                                    \
        "add r0, r12\n"                                                                                         \
        "ldmia r1!, {r4, r5}\n subs r1, #4 * " words "\n"                                                       \
        AOT_PLANE_OUTPUT("r8")                                                                                  \
        "ldr r2, [sp, #0]\n strb r6, [r2]\n"                                                                    \
        AOT_PLANE_OUTPUT("r9")                                                                                  \
        "ldr r2, [sp, #0]\n ldr r3, [sp, #4]\n strb r6, [r2, r3]\n"                                             \
        "ldr r3, [sp, #8]\n adds r2, r2, r3\n str r2, [sp, #0]\n"                                               \
        "ldr r3, [sp, #12]\n cmp r2, r3\n beq 2f\n b 1b\n"                                                      \
        "2:\n"                                                                                                  \
        "add sp, sp, #16\n"                                                                                     \
        "pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"                                   \
        "pop {r4-r7, pc}\n")

/* A line of outputs, two at a time. */
AOT_THUMB1_ASSEMBLY static void aot_plane_line(
    const uint32_t *plane AOT_THUMB1_UNUSED, const int32_t *filter AOT_THUMB1_UNUSED,
    int8_t *output AOT_THUMB1_UNUSED, const aot_walk *walk AOT_THUMB1_UNUSED)
{
    AOT_PLANE_LINE(AOT_PLANE_FIRST, AOT_PLANE_ADD, AOT_PLANE_ADD, "12");
}

/* The same for a filter with a second set of weights. */
AOT_THUMB1_ASSEMBLY static void aot_plane_line_twice(
    const uint32_t *plane AOT_THUMB1_UNUSED, const int32_t *filter AOT_THUMB1_UNUSED,
    int8_t *output AOT_THUMB1_UNUSED, const aot_walk *walk AOT_THUMB1_UNUSED)
{
    AOT_PLANE_LINE(AOT_PLANE_FIRST AOT_PLANE_AGAIN, AOT_PLANE_ADD AOT_PLANE_AGAIN, AOT_PLANE_ADD AOT_PLANE_AGAIN,
                   "21");
}

#else

/* Three words times three weights: added to the sum of the lower halves and to that of the upper ones. */
AOT_INLINE void aot_plane_three(const uint32_t *words, const int32_t *weights, int32_t *lower, int32_t *upper)
{
    const uint32_t sum = words[0] * (uint32_t)weights[0] + words[1] * (uint32_t)weights[1]
        + words[2] * (uint32_t)weights[2];
    *lower += (int32_t)(sum << 16) >> 16;
    *upper += (int32_t)(sum + 0x8000u) >> 16;
}

/* A line of outputs, two at a time, by a filter with `sets` sets of weights. */
AOT_INLINE void aot_plane_line_sets(const uint32_t *plane, const int32_t *filter, int8_t *output,
                                    const aot_walk *walk, int32_t sets)
{
    const int32_t bias = filter[3];
    const int32_t w[9] = { filter[0], filter[1], filter[2], filter[1 + 3 * sets], filter[2 + 3 * sets],
                           filter[3 + 3 * sets], filter[1 + 6 * sets], filter[2 + 6 * sets], filter[3 + 6 * sets] };
    const int32_t multiplier = filter[1 + 9 * sets] + filter[2 + 9 * sets] * 65536;
    const int32_t zero = walk->offset >> 16;
    const int32_t column = 3 + walk->column / 4;
    const int32_t next = 3 + walk->next / 4;
    for (int32_t i = 0; i < walk->count; ++i) {
        int32_t first = bias;
        int32_t second = bias;
        for (int32_t c = 0; c < 3; ++c) {
            aot_plane_three(plane, w + 3 * c, &first, &second);
            if (sets == 2) {
                aot_plane_three(plane, filter + 4 + 6 * c, &first, &second);
            }
            plane += c < 2 ? column : next;
        }
        output[0] = aot_clamp(aot_requantize(first, multiplier, zero), -128, 127);
        output[walk->distance] = aot_clamp(aot_requantize(second, multiplier, zero), -128, 127);
        output += walk->step;
    }
}

AOT_FUNCTION void aot_plane_line(const uint32_t *plane, const int32_t *filter, int8_t *output, const aot_walk *walk)
{
    aot_plane_line_sets(plane, filter, output, walk, 1);
}

AOT_FUNCTION void aot_plane_line_twice(const uint32_t *plane, const int32_t *filter, int8_t *output,
                                       const aot_walk *walk)
{
    aot_plane_line_sets(plane, filter, output, walk, 2);
}

#endif

#endif
