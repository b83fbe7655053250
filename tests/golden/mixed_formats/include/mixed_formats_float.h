/*
 * mixed_formats: conversion between real numbers and the network's int8 inputs and outputs.
 *
 * Rounding is to the nearest step, ties up; values outside the range saturate; NaN becomes the zero point.
 */
#ifndef MIXED_FORMATS_FLOAT_H
#define MIXED_FORMATS_FLOAT_H

#include <stddef.h>
#include <stdint.h>

#include "mixed_formats.h"

static inline int8_t mixed_formats_quantize_one(float real, float scale, int32_t zero_point)
{
    const float steps = real / scale + 0.5f;
    int32_t q;
    if (!(steps > -1024.0f)) {
        q = steps == steps ? -1024 : 0; /* NaN alone differs from itself */
    } else if (steps > 1024.0f) {
        q = 1024;
    } else {
        q = (int32_t)steps;
        q -= (float)q > steps ? 1 : 0; /* conversion truncates; this rounds down */
    }
    q += zero_point;
    return (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}
static inline void mixed_formats_quantize_input(const float *real, int8_t *quantized)
{
    for (size_t i = 0; i < mixed_formats_INPUT_LEN; ++i) {
        quantized[i] = mixed_formats_quantize_one(real[i], mixed_formats_INPUT_SCALE, mixed_formats_INPUT_ZERO_POINT);
    }
}
static inline void mixed_formats_dequantize_output(const int8_t *quantized, float *real)
{
    for (size_t i = 0; i < mixed_formats_OUTPUT_LEN; ++i) {
        real[i] = mixed_formats_OUTPUT_SCALE * (float)(quantized[i] - mixed_formats_OUTPUT_ZERO_POINT);
    }
}
#endif
