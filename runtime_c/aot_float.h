/*
 * What layers in float arithmetic share: limits, and functions without a mathematics library.
 *
 * Every operation is rounded to a float32 of its own, in the order in which it stands here, so that results are the same
 * on every machine with IEEE 754 arithmetic: compile with -ffp-contract=off (the default of gcc under -std=c99) and never
 * with -ffast-math. Errors are a few units of the last place, in tails of erf 2e-7 of 1.
 */
#ifndef AOT_FLOAT_H
#define AOT_FLOAT_H

#include "aot_fixed.h"

AOT_INLINE float aot_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

AOT_INLINE uint32_t aot_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

AOT_INLINE float aot_at_least(float x, float low)
{
    return x < low ? low : x;
}

AOT_INLINE float aot_at_most(float x, float high)
{
    return x > high ? high : x;
}

/* sum + a * b, rounded twice. */
AOT_INLINE float aot_add_product(float sum, float a, float b)
{
    const float product = a * b;
    return sum + product;
}

AOT_INLINE float aot_abs(float x)
{
    return x < 0.0f ? -x : x;
}

/* The largest whole number that is not larger. */
AOT_INLINE float aot_floor(float x)
{
    if (!(x > -8388608.0f && x < 8388608.0f)) {
        return x; /* whole anyway, or not a number */
    }
    const float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

/* The same as an integer, which saturates far outside 16 bits; 0 for what is not a number. */
AOT_INLINE int32_t aot_round(float x)
{
    if (x != x) {
        return 0;
    }
    return (int32_t)aot_floor(aot_at_most(aot_at_least(x, -131072.0f), 131072.0f));
}

/* The nearest whole number, of two the even one. */
AOT_INLINE float aot_nearest(float x)
{
    const float low = aot_floor(x);
    const float rest = x - low;
    if (rest < 0.5f) {
        return low;
    }
    if (rest > 0.5f) {
        return low + 1.0f;
    }
    if (!(rest == 0.5f)) {
        return x;
    }
    return aot_floor(low * 0.5f) * 2.0f == low ? low : low + 1.0f;
}

AOT_FUNCTION float aot_exp(float x)
{
    if (x != x) {
        return x;
    }
    x = aot_at_most(aot_at_least(x, -105.0f), 90.0f);
    const float n = aot_floor(aot_add_product(0.5f, x, 1.44269504f));
    float r = aot_add_product(x, n, -0.693359375f);
    r = aot_add_product(r, n, 2.12194440e-4f);
    float p = 1.98412698e-4f;
    p = aot_add_product(1.38888889e-3f, p, r);
    p = aot_add_product(8.33333333e-3f, p, r);
    p = aot_add_product(4.16666667e-2f, p, r);
    p = aot_add_product(1.66666667e-1f, p, r);
    p = aot_add_product(0.5f, p, r);
    p = aot_add_product(1.0f, p, r);
    p = aot_add_product(1.0f, p, r);
    const int32_t power = (int32_t)n;
    const int32_t half = power >> 1;
    p = p * aot_float_of((uint32_t)(half + 127) << 23);
    return p * aot_float_of((uint32_t)(power - half + 127) << 23);
}

/* exp(x) - 1, exact to the last places near 0 too. */
AOT_FUNCTION float aot_expm1(float x)
{
    if (!(aot_abs(x) < 0.5f)) {
        return aot_exp(x) - 1.0f;
    }
    float p = 2.48015873e-5f;
    p = aot_add_product(1.98412698e-4f, p, x);
    p = aot_add_product(1.38888889e-3f, p, x);
    p = aot_add_product(8.33333333e-3f, p, x);
    p = aot_add_product(4.16666667e-2f, p, x);
    p = aot_add_product(1.66666667e-1f, p, x);
    p = aot_add_product(0.5f, p, x);
    p = aot_add_product(1.0f, p, x);
    return x * p;
}

AOT_FUNCTION float aot_log(float x)
{
    if (x == 0.0f) {
        return aot_float_of(0xFF800000u); /* minus infinity */
    }
    if (!(x > 0.0f)) {
        return aot_float_of(0x7FC00000u); /* not a number */
    }
    if (!(x <= 3.40282347e38f)) {
        return x;
    }
    float exponent = 0.0f;
    if (x < 1.17549435e-38f) {
        x = x * 8388608.0f;
        exponent = -23.0f;
    }
    const uint32_t bits = aot_bits_of(x);
    const int32_t power = (int32_t)((bits - 0x3F3504F3u) >> 23) - (bits < 0x3F3504F3u ? 512 : 0);
    const float m = aot_float_of(bits - ((uint32_t)power << 23));
    exponent = exponent + (float)power;
    const float s = (m - 1.0f) / (m + 1.0f);
    const float z = s * s;
    float p = 0.111111111f;
    p = aot_add_product(0.142857143f, p, z);
    p = aot_add_product(0.2f, p, z);
    p = aot_add_product(0.333333333f, p, z);
    p = aot_add_product(1.0f, p, z);
    p = 2.0f * s * p;
    p = aot_add_product(p, exponent, -2.12194440e-4f);
    return aot_add_product(p, exponent, 0.693359375f);
}

AOT_FUNCTION float aot_sqrt(float x)
{
    if (x < 0.0f) {
        return aot_float_of(0x7FC00000u);
    }
    if (!(x > 0.0f && x <= 3.40282347e38f)) {
        return x;
    }
    float root = aot_float_of((aot_bits_of(x) >> 1) + 0x1FBD1DF5u);
    for (int32_t i = 0; i < 4; ++i) {
        root = 0.5f * (root + x / root);
    }
    return root;
}

AOT_FUNCTION float aot_tanh(float x)
{
    const float size = aot_abs(x);
    if (!(size >= 0.25f)) {
        const float z = x * x;
        float p = 0.0218694885f;
        p = aot_add_product(-0.0539682540f, p, z);
        p = aot_add_product(0.133333333f, p, z);
        p = aot_add_product(-0.333333333f, p, z);
        p = aot_add_product(1.0f, p, z);
        return x * p;
    }
    const float y = 1.0f - 2.0f / (aot_exp(2.0f * size) + 1.0f);
    return x < 0.0f ? -y : y;
}

AOT_INLINE float aot_sigmoid(float x)
{
    return 1.0f / (1.0f + aot_exp(-x));
}

/* Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.5 and 7.1.26. */
AOT_FUNCTION float aot_erf(float x)
{
    const float size = aot_abs(x);
    const float z = x * x;
    if (!(size >= 0.5f)) {
        float p = -7.57575758e-4f;
        p = aot_add_product(4.62962963e-3f, p, z);
        p = aot_add_product(-2.38095238e-2f, p, z);
        p = aot_add_product(0.1f, p, z);
        p = aot_add_product(-0.333333333f, p, z);
        p = aot_add_product(1.0f, p, z);
        return 1.12837917f * x * p;
    }
    const float t = 1.0f / aot_add_product(1.0f, 0.3275911f, size);
    float p = 1.061405429f;
    p = aot_add_product(-1.453152027f, p, t);
    p = aot_add_product(1.421413741f, p, t);
    p = aot_add_product(-0.284496736f, p, t);
    p = aot_add_product(0.254829592f, p, t);
    p = p * t;
    const float y = aot_add_product(1.0f, -p, aot_exp(-z));
    return x < 0.0f ? -y : y;
}

/* sin (x + quarters * pi / 2), for |x| up to 32768; not a number beyond. */
AOT_FUNCTION float aot_sine(float x, int32_t quarters)
{
    if (!(x > -32768.0f && x < 32768.0f)) {
        return aot_float_of(0x7FC00000u);
    }
    const float n = aot_floor(aot_add_product(0.5f, x, 0.636619772f));
    float r = aot_add_product(x, n, -1.5703125f);
    r = aot_add_product(r, n, -4.83751297e-4f);
    r = aot_add_product(r, n, -7.54978995e-8f);
    quarters += (int32_t)n;
    const float z = r * r;
    float p;
    if ((quarters & 1) == 0) {
        p = 2.75573192e-6f;
        p = aot_add_product(-1.98412698e-4f, p, z);
        p = aot_add_product(8.33333333e-3f, p, z);
        p = aot_add_product(-0.166666667f, p, z);
        p = aot_add_product(1.0f, p, z);
        p = p * r;
    } else {
        p = -2.75573192e-7f;
        p = aot_add_product(2.48015873e-5f, p, z);
        p = aot_add_product(-1.38888889e-3f, p, z);
        p = aot_add_product(4.16666667e-2f, p, z);
        p = aot_add_product(-0.5f, p, z);
        p = aot_add_product(1.0f, p, z);
    }
    return (quarters & 2) == 0 ? p : -p;
}

AOT_FUNCTION float aot_atan(float x)
{
    float y = aot_abs(x);
    const int32_t steep = y > 1.0f;
    y = steep ? 1.0f / y : y;
    const int32_t middle = y > 0.414213562f;
    y = middle ? (y - 1.0f) / (y + 1.0f) : y;
    const float z = y * y;
    float p = 0.0588235294f;
    p = aot_add_product(-0.0666666667f, p, z);
    p = aot_add_product(0.0769230769f, p, z);
    p = aot_add_product(-0.0909090909f, p, z);
    p = aot_add_product(0.111111111f, p, z);
    p = aot_add_product(-0.142857143f, p, z);
    p = aot_add_product(0.2f, p, z);
    p = aot_add_product(-0.333333333f, p, z);
    p = aot_add_product(1.0f, p, z);
    p = p * y;
    p = middle ? p + 0.785398163f : p;
    p = steep ? 1.57079633f - p : p;
    return x < 0.0f ? -p : p;
}

/* log (1 + exp x) */
AOT_INLINE float aot_softplus(float x)
{
    return aot_at_least(x, 0.0f) + aot_log(1.0f + aot_exp(-aot_abs(x)));
}

/* x to a whole power if `whole`, of either sign, else to any of a positive x. */
AOT_FUNCTION float aot_power(float x, float exponent, int32_t whole)
{
    if (whole == 0) {
        return exponent == 0.0f ? 1.0f : aot_exp(exponent * aot_log(x));
    }
    float y = 1.0f;
    const int32_t count = whole < 0 ? -whole : whole;
    for (int32_t i = 0; i < count; ++i) {
        y = y * x;
    }
    return whole < 0 ? 1.0f / y : y;
}

#endif
