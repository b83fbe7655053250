/*
 * Loops over constant numbers of neighbouring elements, which compilers turn into vector instructions.
 *
 * Sums of products take their inputs raised by 128, so that they are not negative. Where a processor multiplies unsigned
 * bytes by signed ones and adds up neighbours in one instruction, inputs stay bytes; elsewhere they become 16 bits wide,
 * since nearly every processor with vectors has such an instruction for those.
 */
#ifndef AOT_VECTOR_H
#define AOT_VECTOR_H

#include "aot_fixed.h"

#ifndef AOT_VECTOR_BYTES
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__ARM_FEATURE_MATMUL_INT8)
#define AOT_VECTOR_BYTES 1
#else
#define AOT_VECTOR_BYTES 0
#endif
#endif

/* One raised input, from 0 to 255. */
#if AOT_VECTOR_BYTES
typedef uint8_t aot_raised;
#else
typedef int16_t aot_raised;
#endif

AOT_INLINE void aot_raise(aot_raised *to, const int8_t *from, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) {
        to[i] = (aot_raised)(from[i] + 128);
    }
}

/* The same, all of one value. */
AOT_INLINE void aot_raise_fill(aot_raised *to, int8_t value, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) {
        to[i] = (aot_raised)(value + 128);
    }
}

/* bias + a row of weights times raised inputs. */
AOT_INLINE int32_t aot_dot(int32_t bias, const aot_raised *x, const int8_t *row, int32_t n)
{
    int32_t sum = bias;
    for (int32_t k = 0; k < n; ++k) {
        sum += x[k] * row[k];
    }
    return sum;
}

/* The same for four stretches of inputs, one behind the other. */
AOT_INLINE void aot_dot_4(int32_t sums[4], int32_t bias, const aot_raised *x, const int8_t *row, int32_t n)
{
    int32_t sum0 = bias;
    int32_t sum1 = bias;
    int32_t sum2 = bias;
    int32_t sum3 = bias;
    for (int32_t k = 0; k < n; ++k) {
        sum0 += x[k] * row[k];
        sum1 += x[n + k] * row[k];
        sum2 += x[2 * n + k] * row[k];
        sum3 += x[3 * n + k] * row[k];
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

/* To the sums of n channels, what is added to them, times the channel's factor. */
AOT_INLINE void aot_add_residual(int32_t *sums, const int8_t *residual, const int32_t *factors, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) {
        sums[i] += factors[i] * residual[i];
    }
}

/* The same to sums of which those below 0 are cut off. */
AOT_INLINE void aot_add_residual_behind_relu(int32_t *sums, const int8_t *residual, const int32_t *factors, int32_t n,
                                             int32_t zero)
{
    for (int32_t i = 0; i < n; ++i) {
        sums[i] = aot_max(sums[i], 0) + factors[i] * (residual[i] - zero);
    }
}

/* The outputs of n channels from their sums, which are used up, each with its multiplier. */
AOT_INLINE void aot_requantize_row(int8_t *output, int32_t *sums, const int32_t *multipliers, int32_t n, int32_t zero,
                                   int32_t low, int32_t high)
{
    for (int32_t i = 0; i < n; ++i) {
        sums[i] = aot_requantize(sums[i], multipliers[i], zero);
    }
    for (int32_t i = 0; i < n; ++i) {
        output[i] = aot_clamp(sums[i], low, high);
    }
}

#endif
