/*
 * Fixed-point arithmetic shared by all generated layers.
 *
 * One rounding rule holds everywhere: floor(x + 1/2), so ties go up. Right shifts of negative numbers are taken to be
 * arithmetic, as they are with every compiler for the supported targets.
 */
#ifndef AOT_FIXED_H
#define AOT_FIXED_H

#include <stdint.h>
#include <string.h>

#define AOT_RUNTIME_VERSION 1

/*
 * GCC 12.2 selects wrong lanes where it makes vectors for MVE out of plain C by a constant mask. What gains from vectors
 * is written with them here, so that nothing is lost without its attempts.
 */
#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-vectorize", "no-tree-slp-vectorize")
#endif

/* Every layer is a function of its own, so that it can be found in a map file, a debugger or a profile. */
#if defined(__GNUC__)
#define AOT_LAYER __attribute__((noinline))
#define AOT_INLINE static inline __attribute__((always_inline))
#else
#define AOT_LAYER
#define AOT_INLINE static inline
#endif

/* zero + round(accumulator * multiplier / 2^32); the product is exact in 64 bits. */
AOT_INLINE int32_t aot_requantize(int32_t accumulator, int32_t multiplier, int32_t zero)
{
#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(accumulator), "r"(multiplier), "r"(zero));
    return result;
#else
    const int64_t half = INT64_C(1) << 31;
    return zero + (int32_t)(((int64_t)accumulator * multiplier + half) >> 32);
#endif
}

AOT_INLINE int8_t aot_clamp(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int8_t)value;
}

#endif
