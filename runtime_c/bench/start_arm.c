/* Start-up of Armv6-M to Armv8.1-M: the vector table, and what a processor needs before its first function. */
#include "bench.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CONFIGURATION REGISTER(0xE000ED14u) /* CCR */
#define COPROCESSORS REGISTER(0xE000ED88u)  /* CPACR */

enum { TRAP_UNALIGNED = 1 << 3, LOOPS_AND_BRANCHES = 1 << 19, FLOATING_POINT = 0xF << 20 };

void bench_start(void);

struct vectors {
    void *stack;
    void (*handlers[15])(void);
};

__attribute__((section(".bench_vectors"), used)) static const struct vectors vectors = {
    bench_stack_top,
    { bench_start, bench_fault, bench_fault, bench_fault, bench_fault, bench_fault, bench_fault, bench_fault,
      bench_fault, bench_fault, bench_fault, bench_fault, bench_fault, bench_fault, bench_fault },
};

void bench_start(void)
{
#if __ARM_ARCH == 6
    CONFIGURATION |= TRAP_UNALIGNED; /* a Cortex-M0 always does; the board's processor is a Cortex-M3 */
#endif
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSORS |= FLOATING_POINT;
#endif
#if defined(__ARM_FEATURE_MVE)
    CONFIGURATION |= LOOPS_AND_BRANCHES;
#endif
    __asm__ volatile("dsb\n isb" : : : "memory");
    bench_main();
}
