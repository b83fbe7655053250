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

/*
 * Every layer is a function of its own, so that it can be found in a map file, a debugger or a profile. An AOT_FUNCTION
 * is one that layers share.
 */
#if defined(__GNUC__)
#define AOT_LAYER __attribute__((noinline))
#define AOT_FUNCTION __attribute__((noinline, unused)) static
#define AOT_INLINE static inline __attribute__((always_inline))
#else
#define AOT_LAYER
#define AOT_FUNCTION static
#define AOT_INLINE static inline
#endif

/* Processors that run Thumb instructions only, such as Cortex-M0: their multiplication has 32 bits. */
#if defined(__GNUC__) && defined(__ARM_ARCH_ISA_THUMB) && (__ARM_ARCH_ISA_THUMB == 1)
#define AOT_THUMB1 1
/* A function which is all assembly, and a parameter which only assembly reads. The compiler must add nothing to it. */
#if defined(__clang__) || (__GNUC__ >= 11)
#define AOT_THUMB1_ASSEMBLY __attribute__((naked, noinline, unused, no_stack_protector))
#else
#define AOT_THUMB1_ASSEMBLY __attribute__((naked, noinline, unused, optimize("no-stack-protector")))
#endif
#define AOT_THUMB1_UNUSED __attribute__((unused))
#else
#define AOT_THUMB1 0
#endif

/* zero + round(accumulator * multiplier / 2^32) for a multiplier >= 0; the product is exact in 64 bits. */
AOT_INLINE int32_t aot_requantize(int32_t accumulator, int32_t multiplier, int32_t zero)
{
#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(accumulator), "r"(multiplier), "r"(zero));
    return result;
#elif AOT_THUMB1
    /* From products of halves; rounding down twice, by 2^16 each time, is rounding down once by 2^32. */
    const uint32_t low = (uint32_t)accumulator & 0xFFFFu;
    const int32_t high = accumulator >> 16;
    const uint32_t multiplier_low = (uint32_t)multiplier & 0xFFFFu;
    const int32_t multiplier_high = multiplier >> 16;
    const int32_t middle = high * (int32_t)multiplier_low + (int32_t)((low * multiplier_low) >> 16);
    const uint32_t rest = low * (uint32_t)multiplier_high + ((uint32_t)middle & 0xFFFFu) + 0x8000u;
    return zero + high * multiplier_high + (middle >> 16) + (int32_t)(rest >> 16);
#else
    const int64_t half = INT64_C(1) << 31;
    return zero + (int32_t)(((int64_t)accumulator * multiplier + half) >> 32);
#endif
}

/* What becomes of sums of products before they are multiplied: a residual may be added, to those above 0 or to all. */
enum aot_sum { AOT_SUM_ALONE, AOT_SUM_ADD, AOT_SUM_RELU_ADD };

AOT_INLINE int32_t aot_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

AOT_INLINE int8_t aot_clamp(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int8_t)value;
}

AOT_INLINE int16_t aot_clamp16(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int16_t)value;
}

#endif
