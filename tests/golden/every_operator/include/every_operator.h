/*
 * every_operator: a neural network in int8 fixed-point arithmetic.
 *
 * real = scale * (q - zero point), for inputs and outputs alike. All working memory is in the caller's arena;
 * calls with different arenas may run at the same time.
 */
#ifndef EVERY_OPERATOR_MODEL_H
#define EVERY_OPERATOR_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Working memory, in bytes, and its alignment. Its content need not survive between calls. */
#define every_operator_ARENA_BYTES 232u
#define every_operator_ARENA_ALIGN 8u
/* input "image": 1 x 4 x 4 x 3 elements */
#define every_operator_INPUT_image_LEN 48u
#define every_operator_INPUT_image_SCALE 3.921569e-03f
#define every_operator_INPUT_image_ZERO_POINT (-128)
/* input "gain": 1 x 1 x 1 x 3 elements */
#define every_operator_INPUT_gain_LEN 3u
#define every_operator_INPUT_gain_SCALE 8.82353e-03f
#define every_operator_INPUT_gain_ZERO_POINT (-100)
/* output "map": 1 x 4 x 3 x 3 elements */
#define every_operator_OUTPUT_map_LEN 36u
#define every_operator_OUTPUT_map_SCALE 7.843138e-03f
#define every_operator_OUTPUT_map_ZERO_POINT (-1)
/* output "answer": 1 x 5 elements */
#define every_operator_OUTPUT_answer_LEN 5u
#define every_operator_OUTPUT_answer_SCALE 3.90625e-03f
#define every_operator_OUTPUT_answer_ZERO_POINT (-128)
/* The same in upper case. */
#define EVERY_OPERATOR_ARENA_BYTES every_operator_ARENA_BYTES
#define EVERY_OPERATOR_ARENA_ALIGN every_operator_ARENA_ALIGN
#define EVERY_OPERATOR_INPUT_IMAGE_LEN every_operator_INPUT_image_LEN
#define EVERY_OPERATOR_INPUT_IMAGE_SCALE every_operator_INPUT_image_SCALE
#define EVERY_OPERATOR_INPUT_IMAGE_ZERO_POINT every_operator_INPUT_image_ZERO_POINT
#define EVERY_OPERATOR_INPUT_GAIN_LEN every_operator_INPUT_gain_LEN
#define EVERY_OPERATOR_INPUT_GAIN_SCALE every_operator_INPUT_gain_SCALE
#define EVERY_OPERATOR_INPUT_GAIN_ZERO_POINT every_operator_INPUT_gain_ZERO_POINT
#define EVERY_OPERATOR_OUTPUT_MAP_LEN every_operator_OUTPUT_map_LEN
#define EVERY_OPERATOR_OUTPUT_MAP_SCALE every_operator_OUTPUT_map_SCALE
#define EVERY_OPERATOR_OUTPUT_MAP_ZERO_POINT every_operator_OUTPUT_map_ZERO_POINT
#define EVERY_OPERATOR_OUTPUT_ANSWER_LEN every_operator_OUTPUT_answer_LEN
#define EVERY_OPERATOR_OUTPUT_ANSWER_SCALE every_operator_OUTPUT_answer_SCALE
#define EVERY_OPERATOR_OUTPUT_ANSWER_ZERO_POINT every_operator_OUTPUT_answer_ZERO_POINT
/*
 * Run the network once.
 *
 * arena: every_operator_ARENA_BYTES bytes, aligned to every_operator_ARENA_ALIGN. Inputs are only read; outputs are written whole.
 * Returns 0 when done, 1 when a pointer is null or the arena is not aligned.
 */
int every_operator_run(void *arena, const int8_t *input_image, const int8_t *input_gain, int8_t *output_map, int8_t *output_answer);

#ifdef __cplusplus
}
#endif

#endif
