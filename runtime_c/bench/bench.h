/*
 * The program that runs generated projects on an emulated board.
 *
 * It talks to the host by semihosting: inputs are read from a file, outputs written to another. Nothing in it calls a
 * library function, so that every such function in the linked program was called for by a network.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* One generated project: inputs first, then outputs, in the order of its run function. */
struct bench_project {
    const char *name;
    int (*run)(void *arena, int8_t *const *inputs, int8_t *const *outputs);
    uint32_t arena_bytes;
    uint32_t arena_align;
    uint32_t samples;
    uint32_t inputs;
    uint32_t outputs;
    const uint32_t *lengths; /* bytes of each input and output */
    const uint32_t *units;   /* bytes of one of its elements */
};

enum { BENCH_GUARD = 16 }; /* bytes around every block of memory which must stay as they are */

/* The generated part: projects, and memory for the largest of them. */
extern const struct bench_project bench_projects[];
extern const uint32_t bench_project_count;
extern unsigned char bench_arena[];
extern const uint32_t bench_arena_bytes;
extern int8_t bench_ports[];
extern const uint32_t bench_port_bytes;
extern int8_t *bench_pointers[];

/* Where the stack stands: taken by the generated part right before it calls a network. */
extern uintptr_t bench_stack_before;

static inline uintptr_t bench_stack_now(void)
{
    uintptr_t sp;
#if defined(__arm__)
    __asm__ volatile("mov %0, sp" : "=r"(sp));
#else
    __asm__ volatile("mv %0, sp" : "=r"(sp));
#endif
    return sp;
}

/* From the linker script: the stack grows from its top down to its limit. */
extern uint32_t bench_stack_limit[];
extern uint32_t bench_stack_top[];

enum {
    BENCH_DONE = 0,
    BENCH_REFUSED = 2,   /* a run function answered with an error */
    BENCH_STRAYED = 3,   /* something was written outside the memory given */
    BENCH_FILES = 4,     /* a file could not be read or written */
    BENCH_FAULT = 5,     /* the processor took an exception */
    BENCH_STACK = 6      /* the stack was used up */
};

/* Called by the start-up code. */
void bench_main(void);
void bench_fault(void);

#endif
