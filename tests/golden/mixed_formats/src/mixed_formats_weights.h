/* mixed_formats: weights, biases, multipliers and tables of all layers. */
#ifndef MIXED_FORMATS_WEIGHTS_H
#define MIXED_FORMATS_WEIGHTS_H

#include <stdint.h>

extern const uint8_t mixed_formats_conv2d_0_weights[64];
extern const int32_t mixed_formats_conv2d_0_bias[4];
extern const int32_t mixed_formats_conv2d_0_multipliers[4];
extern const int16_t mixed_formats_conv2d_2_weights[108];
extern const int32_t mixed_formats_conv2d_2_bias[3];
extern const int32_t mixed_formats_conv2d_2_multipliers[3];
extern const int16_t mixed_formats_unary_3_table[513];
extern const int8_t mixed_formats_fully_connected_7_weights[240];
extern const int32_t mixed_formats_fully_connected_7_bias[5];
extern const int32_t mixed_formats_fully_connected_7_multipliers[5];
#endif
