/*
 * digits_cnn: a neural network in int8 fixed-point arithmetic.
 *
 * real = scale * (q - zero point), for inputs and outputs alike. All working memory is in the caller's arena;
 * calls with different arenas may run at the same time.
 */
#ifndef DIGITS_CNN_MODEL_H
#define DIGITS_CNN_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Working memory, in bytes, and its alignment. Its content need not survive between calls. */
#define digits_cnn_ARENA_BYTES 7840u
#define digits_cnn_ARENA_ALIGN 8u
/* input "image": 1 x 1 x 28 x 28 elements */
#define digits_cnn_INPUT_LEN 784u
#define digits_cnn_INPUT_SCALE 3.921569e-03f
#define digits_cnn_INPUT_ZERO_POINT (-128)
/* output "probability": 1 x 10 elements */
#define digits_cnn_OUTPUT_LEN 10u
#define digits_cnn_OUTPUT_SCALE 3.90625e-03f
#define digits_cnn_OUTPUT_ZERO_POINT (-128)
/* The same in upper case. */
#define DIGITS_CNN_ARENA_BYTES digits_cnn_ARENA_BYTES
#define DIGITS_CNN_ARENA_ALIGN digits_cnn_ARENA_ALIGN
#define DIGITS_CNN_INPUT_LEN digits_cnn_INPUT_LEN
#define DIGITS_CNN_INPUT_SCALE digits_cnn_INPUT_SCALE
#define DIGITS_CNN_INPUT_ZERO_POINT digits_cnn_INPUT_ZERO_POINT
#define DIGITS_CNN_OUTPUT_LEN digits_cnn_OUTPUT_LEN
#define DIGITS_CNN_OUTPUT_SCALE digits_cnn_OUTPUT_SCALE
#define DIGITS_CNN_OUTPUT_ZERO_POINT digits_cnn_OUTPUT_ZERO_POINT
/*
 * Run the network once.
 *
 * arena: digits_cnn_ARENA_BYTES bytes, aligned to digits_cnn_ARENA_ALIGN. Inputs are only read; outputs are written whole.
 * Returns 0 when done, 1 when a pointer is null or the arena is not aligned.
 */
int digits_cnn_run(void *arena, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
