/*
 * every_operator: conversion between real numbers and the network's int8 inputs and outputs.
 *
 * Rounding is to the nearest step, ties up; values outside the range saturate; NaN becomes the zero point.
 */
#ifndef EVERY_OPERATOR_FLOAT_H
#define EVERY_OPERATOR_FLOAT_H

#include <stddef.h>
#include <stdint.h>

#include "every_operator.h"

static inline int8_t every_operator_quantize_one(float real, float scale, int32_t zero_point)
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
static inline void every_operator_quantize_input_image(const float *real, int8_t *quantized)
{
    for (size_t i = 0; i < every_operator_INPUT_image_LEN; ++i) {
        quantized[i] = every_operator_quantize_one(real[i], every_operator_INPUT_image_SCALE, every_operator_INPUT_image_ZERO_POINT);
    }
}
static inline void every_operator_quantize_input_gain(const float *real, int8_t *quantized)
{
    for (size_t i = 0; i < every_operator_INPUT_gain_LEN; ++i) {
        quantized[i] = every_operator_quantize_one(real[i], every_operator_INPUT_gain_SCALE, every_operator_INPUT_gain_ZERO_POINT);
    }
}
static inline void every_operator_dequantize_output_map(const int8_t *quantized, float *real)
{
    for (size_t i = 0; i < every_operator_OUTPUT_map_LEN; ++i) {
        real[i] = every_operator_OUTPUT_map_SCALE * (float)(quantized[i] - every_operator_OUTPUT_map_ZERO_POINT);
    }
}
static inline void every_operator_dequantize_output_answer(const int8_t *quantized, float *real)
{
    for (size_t i = 0; i < every_operator_OUTPUT_answer_LEN; ++i) {
        real[i] = every_operator_OUTPUT_answer_SCALE * (float)(quantized[i] - every_operator_OUTPUT_answer_ZERO_POINT);
    }
}
#endif
