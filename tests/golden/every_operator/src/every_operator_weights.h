/* every_operator: weights, biases, multipliers and tables of all layers. */
#ifndef EVERY_OPERATOR_WEIGHTS_H
#define EVERY_OPERATOR_WEIGHTS_H

#include <stdint.h>

extern const int8_t every_operator_conv2d_2_weights[54];
extern const int32_t every_operator_conv2d_2_bias[2];
extern const int32_t every_operator_conv2d_2_multipliers[2];
extern const int32_t every_operator_average_pool2d_4_multipliers[10];
extern const int8_t every_operator_add_6_input1[4];
extern const int8_t every_operator_unary_7_table[256];
extern const int8_t every_operator_fully_connected_10_weights[90];
extern const int32_t every_operator_fully_connected_10_bias[5];
extern const int32_t every_operator_fully_connected_10_multipliers[5];
extern const uint16_t every_operator_softmax_11_exponentials[256];
#endif
