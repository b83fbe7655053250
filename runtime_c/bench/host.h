/* Semihosting: requests which the emulator carries out on the host. */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <stdint.h>

enum {
    HOST_OPEN = 0x01,
    HOST_WRITE_TEXT = 0x04,
    HOST_WRITE = 0x05,
    HOST_READ = 0x06,
    HOST_EXIT = 0x20,
    HOST_MODE_READ = 1,
    HOST_MODE_WRITE = 5,
    HOST_EXIT_REASON = 0x20026 /* the application ended by itself */
};

#if defined(__arm__)
static inline intptr_t host_call(intptr_t request, const void *argument)
{
    register intptr_t r0 __asm__("r0") = request;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#else
intptr_t host_call(intptr_t request, const void *argument); /* in the start-up code */
#endif

#endif
