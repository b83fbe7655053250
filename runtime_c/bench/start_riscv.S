/* Start-up of RISC-V in machine mode, a handler for every exception, and the request to the host. */
    .option arch, +zicsr
    .section .bench_vectors, "ax", @progbits
    .globl bench_start
bench_start:
    la sp, bench_stack_top
    la t0, handler
    csrw mtvec, t0
    call bench_main

    .balign 4
handler:
    la sp, bench_stack_top
    call bench_fault

/* intptr_t host_call(intptr_t request, const void *argument): three long instructions on one page mark a request. */
    .section .text.host_call, "ax", @progbits
    .option norvc
    .option norelax
    .balign 16
    .globl host_call
host_call:
    slli x0, x0, 0x1f
    ebreak
    srai x0, x0, 7
    ret
