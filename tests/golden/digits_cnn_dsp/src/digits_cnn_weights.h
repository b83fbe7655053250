/* digits_cnn: weights, biases, multipliers and tables of all layers. */
#ifndef DIGITS_CNN_WEIGHTS_H
#define DIGITS_CNN_WEIGHTS_H

#include <stdint.h>

extern const uint32_t digits_cnn_conv2d_0_stream[40];
extern const int8_t digits_cnn_depthwise_conv2d_2_weights[72];
extern const int32_t digits_cnn_depthwise_conv2d_2_bias[8];
extern const int32_t digits_cnn_depthwise_conv2d_2_multipliers[8];
extern const uint32_t digits_cnn_conv2d_3_stream[96];
extern const uint32_t digits_cnn_depthwise_conv2d_5_filters[120];
extern const uint32_t digits_cnn_conv2d_6_stream[384];
extern const uint32_t digits_cnn_fully_connected_8_stream[162];
extern const uint16_t digits_cnn_softmax_9_exponentials[256];
#endif
