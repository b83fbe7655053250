/*
 * Every project is run twice on each of its samples.
 *
 * Read from input.bin: for each project and sample, its inputs. Written to output.bin: the outputs of both runs and the
 * bytes of stack which the second one used, 32 bits. Samples other than the first are given at odd addresses, since an
 * int8_t may lie anywhere, larger elements at odd multiples of their size; the arena is aligned as the project asks, and no better.
 */
#include "bench.h"
#include "host.h"

enum { FILL = 0xA5, PAINT = 0x5AC3A53C };

struct opened {
    intptr_t from;
    intptr_t to;
};

static void leave(uint32_t code)
{
    const uintptr_t block[2] = { HOST_EXIT_REASON, code };
    for (;;) {
        host_call(HOST_EXIT, block);
    }
}

static void fail(const struct bench_project *project, const char *what, uint32_t code)
{
    host_call(HOST_WRITE_TEXT, project != NULL ? project->name : "bench");
    host_call(HOST_WRITE_TEXT, what);
    leave(code);
}

void bench_fault(void)
{
    fail(NULL, ": the processor took an exception\n", BENCH_FAULT);
}

static intptr_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uintptr_t block[3] = { (uintptr_t)name, mode, length };
    const intptr_t handle = host_call(HOST_OPEN, block);
    if (handle < 0) {
        fail(NULL, ": a file cannot be opened\n", BENCH_FILES);
    }
    return handle;
}

/* Read or write all of a block; the answer of the host is what is left to do. */
static void transfer(int32_t request, intptr_t handle, void *data, uint32_t bytes)
{
    const uintptr_t block[3] = { (uintptr_t)handle, (uintptr_t)data, bytes };
    if (bytes != 0u && host_call(request, block) != 0) {
        fail(NULL, ": a file is too short\n", BENCH_FILES);
    }
}

static void fill(void *memory, uint32_t bytes)
{
    unsigned char *const to = memory;
    for (uint32_t i = 0; i < bytes; ++i) {
        to[i] = FILL;
    }
}

static int untouched(const void *memory, uint32_t bytes)
{
    const unsigned char *const from = memory;
    for (uint32_t i = 0; i < bytes; ++i) {
        if (from[i] != FILL) {
            return 0;
        }
    }
    return 1;
}

/* What an unused word of the stack holds: another value in each, which no register is likely to bring. */
static uint32_t paint(const volatile uint32_t *word)
{
    return PAINT ^ (uint32_t)(uintptr_t)word;
}

/* One inference; the answer is how many bytes of stack it used. */
static __attribute__((noinline)) uint32_t run_painted(const struct bench_project *project, void *arena,
                                                      int8_t *const *ports)
{
    volatile uint32_t *word = bench_stack_limit;
    const uintptr_t here = bench_stack_now();
    while ((uintptr_t)word < here) {
        *word = paint(word);
        ++word;
    }
    if (project->run(arena, ports, ports + project->inputs) != 0) {
        fail(project, ": the run function answered with an error\n", BENCH_REFUSED);
    }
    word = bench_stack_limit;
    if (*word != paint(word)) {
        fail(project, ": the stack was used up\n", BENCH_STACK);
    }
    while ((uintptr_t)word < bench_stack_before && *word == paint(word)) {
        ++word;
    }
    return (uint32_t)(bench_stack_before - (uintptr_t)word);
}

static void run_sample(const struct bench_project *project, uint32_t sample, const struct opened *files)
{
    int8_t **const ports = bench_pointers;
    const uint32_t count = project->inputs + project->outputs;
    unsigned char *const arena = bench_arena + project->arena_align;
    int8_t *next = bench_ports;
    uint32_t stack = 0;
    fill(bench_arena, bench_arena_bytes);
    fill(bench_ports, bench_port_bytes);
    for (uint32_t i = 0; i < count; ++i) {
        next += BENCH_GUARD;
        next += -(uintptr_t)next % 8u + sample % 4u * project->units[i];
        ports[i] = next;
        if (i < project->inputs) {
            transfer(HOST_READ, files->from, next, project->lengths[i]);
        }
        next += project->lengths[i];
    }
    for (int pass = 0; pass < 2; ++pass) {
        for (uint32_t i = project->inputs; i < count; ++i) {
            fill(ports[i], project->lengths[i]);
        }
        stack = run_painted(project, arena, ports);
        for (uint32_t i = 0; i < count; ++i) {
            if (!untouched(ports[i] - BENCH_GUARD, BENCH_GUARD)
                || !untouched(ports[i] + project->lengths[i], BENCH_GUARD)) {
                fail(project, ": something was written beside an input or output\n", BENCH_STRAYED);
            }
            if (i >= project->inputs) {
                transfer(HOST_WRITE, files->to, ports[i], project->lengths[i]);
            }
        }
        if (!untouched(bench_arena, project->arena_align)
            || !untouched(arena + project->arena_bytes,
                          bench_arena_bytes - project->arena_align - project->arena_bytes)) {
            fail(project, ": something was written beside the arena\n", BENCH_STRAYED);
        }
    }
    transfer(HOST_WRITE, files->to, &stack, sizeof stack);
}

void bench_main(void)
{
    struct opened files;
    files.from = open_file("input.bin", 9, HOST_MODE_READ);
    files.to = open_file("output.bin", 10, HOST_MODE_WRITE);
    for (uint32_t i = 0; i < bench_project_count; ++i) {
        for (uint32_t sample = 0; sample < bench_projects[i].samples; ++sample) {
            run_sample(&bench_projects[i], sample, &files);
        }
    }
    leave(BENCH_DONE);
}
