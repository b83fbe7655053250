/*
 * mixed_formats: a neural network in int8 fixed-point and int16 fixed-point and float arithmetic.
 *
 * real = scale * (q - zero point), for inputs and outputs alike. All working memory is in the caller's arena;
 * calls with different arenas may run at the same time.
 *
 * Float arithmetic gives the same bytes on every machine if it is compiled as it is written: with -ffp-contract=off
 * (the default of gcc under -std=c99) and without -ffast-math.
 */
#ifndef MIXED_FORMATS_MODEL_H
#define MIXED_FORMATS_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Working memory, in bytes, and its alignment. Its content need not survive between calls. */
#define mixed_formats_ARENA_BYTES 304u
#define mixed_formats_ARENA_ALIGN 8u
/* input "image": 1 x 4 x 4 x 3 elements */
#define mixed_formats_INPUT_LEN 48u
#define mixed_formats_INPUT_SCALE 3.921569e-03f
#define mixed_formats_INPUT_ZERO_POINT (-128)
/* output "scores": 1 x 5 elements */
#define mixed_formats_OUTPUT_LEN 5u
#define mixed_formats_OUTPUT_SCALE 1.1764706e-02f
#define mixed_formats_OUTPUT_ZERO_POINT (-128)
/* The same in upper case. */
#define MIXED_FORMATS_ARENA_BYTES mixed_formats_ARENA_BYTES
#define MIXED_FORMATS_ARENA_ALIGN mixed_formats_ARENA_ALIGN
#define MIXED_FORMATS_INPUT_LEN mixed_formats_INPUT_LEN
#define MIXED_FORMATS_INPUT_SCALE mixed_formats_INPUT_SCALE
#define MIXED_FORMATS_INPUT_ZERO_POINT mixed_formats_INPUT_ZERO_POINT
#define MIXED_FORMATS_OUTPUT_LEN mixed_formats_OUTPUT_LEN
#define MIXED_FORMATS_OUTPUT_SCALE mixed_formats_OUTPUT_SCALE
#define MIXED_FORMATS_OUTPUT_ZERO_POINT mixed_formats_OUTPUT_ZERO_POINT
/*
 * Run the network once.
 *
 * arena: mixed_formats_ARENA_BYTES bytes, aligned to mixed_formats_ARENA_ALIGN. Inputs are only read; outputs are written whole.
 * Returns 0 when done, 1 when a pointer is null or the arena is not aligned.
 */
int mixed_formats_run(void *arena, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
