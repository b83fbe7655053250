/*
 * A plugin for QEMU that counts executed instructions by the function they belong to.
 *
 * regions.txt gives address ranges, ascending, as "first end region" in hexadecimal. Region 0 is the bench itself and is
 * not counted. Code in no range, such as a library function, counts for the region that called it. Each time control
 * comes back to region 0, counts.txt gets a line: the regions in the order in which they were entered,
 * "region:instructions:cycles".
 *
 * Cycles are an estimate for a Cortex-M3 or M4 whose memory has no wait states, made if the plugin is given
 * "cycles=A:L:M:D". A single load or store takes 2, or 1 right behind another; LDM, STM, LDRD, STRD, PUSH and POP take 1
 * and 1 for each register; MLA and its like take A, a long multiplication L, with accumulation M, a division D, everything
 * else 1. An instruction after which another than the following one is executed takes 2 more. An instruction that an IT
 * block skips takes what it takes otherwise. There is no floating point.
 *
 * The few functions of QEMU's plugin interface that are used are declared here, since its header is often not
 * installed. They are the same in versions 1 to 4 of the interface, but for the one that gives an instruction's bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef INTERFACE_VERSION
#define INTERFACE_VERSION 1
#endif

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *block);
typedef void (*executed_t)(unsigned int processor, void *data);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_t function);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, executed_t function,
                                                   enum qemu_plugin_cb_flags flags, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

/* The bytes of an instruction: a pointer to them, or since version 3 a copy of them. */
extern void qemu_plugin_insn_data(void);
typedef const void *(*data_t)(const struct qemu_plugin_insn *insn);
typedef size_t (*copy_data_t)(const struct qemu_plugin_insn *insn, void *to, size_t size);

/* The beginning of what the emulator says about itself. */
struct about {
    const char *processor;
    struct {
        int oldest;
        int newest;
    } version;
};

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = INTERFACE_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct about *about, int argc, char **argv);

enum { BENCH = 0, CALLERS = -1 };

struct range {
    uint64_t first;
    uint64_t end;
    int region;
};

/* An instruction as it was translated. Without a rule for cycles only its region is known. */
struct known {
    int region;
    int single; /* one load or one store */
    unsigned int cycles;
    uint64_t first;
    uint64_t end;
};

/* Cycles of what processors differ in; division 0: no rule. */
static struct {
    unsigned int accumulate;
    unsigned int multiply_long;
    unsigned int accumulate_long;
    unsigned int divide;
} rule;

static struct range *ranges;
static size_t range_count;
static FILE *counts;
static int current = BENCH;
static uint64_t executed;
static uint64_t cycles;
static struct known before; /* the instruction that was executed last */
static int interface_version;
static void (*bytes_of)(void) = qemu_plugin_insn_data;

static int region_of(uint64_t address)
{
    size_t low = 0;
    size_t high = range_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (address >= ranges[middle].end) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < range_count && address >= ranges[low].first ? ranges[low].region : CALLERS;
}

static void on_executed(unsigned int processor, void *data)
{
    const struct known *const now = data;
    const int jumped = now->first != before.end;
    (void)processor;
    cycles += jumped ? 2 : 0;
    if (now->region != CALLERS && now->region != current) {
        if (current != BENCH) {
            fprintf(counts, now->region == BENCH ? "%d:%llu:%llu\n" : "%d:%llu:%llu ", current,
                    (unsigned long long)executed, (unsigned long long)cycles);
        }
        current = now->region;
        executed = 0;
        cycles = 0;
    }
    ++executed;
    cycles += now->single && before.single && !jumped ? 1 : now->cycles;
    before = *now;
}

static unsigned int ones(unsigned int bits)
{
    return (unsigned int)__builtin_popcount(bits);
}

/* A Thumb instruction of one halfword. */
static void classify_short(struct known *k, unsigned int h)
{
    if (h >= 0x4800 && h < 0xA000) { /* from memory, to memory */
        k->single = 1;
        k->cycles = 2;
    } else if ((h & 0xF600) == 0xB400) { /* PUSH, POP */
        k->cycles = 1 + ones(h & 0x1FF);
    } else if ((h & 0xF000) == 0xC000) { /* STM, LDM */
        k->cycles = 1 + ones(h & 0xFF);
    }
}

/* A Thumb instruction of two halfwords. */
static void classify_long(struct known *k, unsigned int h, unsigned int second)
{
    if ((h & 0xFE40) == 0xE800) { /* STM, LDM, with PUSH and POP */
        k->cycles = 1 + ones(second);
    } else if ((h & 0xFE40) == 0xE840 && (h & 0x120) != 0) { /* STRD, LDRD */
        k->cycles = 3;
    } else if ((h & 0xFE40) == 0xE840 || (h & 0xFE00) == 0xF800) { /* exclusive, table branch; load, store */
        k->single = 1;
        k->cycles = 2;
    } else if ((h & 0xFF80) == 0xFB00) {
        k->cycles = second >> 12 == 15 ? 1 : rule.accumulate;
    } else if ((h & 0xFFD0) == 0xFB80) {
        k->cycles = rule.multiply_long;
    } else if ((h & 0xFFD0) == 0xFB90) {
        k->cycles = rule.divide;
    } else if ((h & 0xFFC0) == 0xFBC0) {
        k->cycles = rule.accumulate_long;
    }
}

static void classify(struct known *k, const struct qemu_plugin_insn *insn)
{
    unsigned char copy[4] = { 0, 0, 0, 0 };
    const unsigned char *bytes = copy;
    unsigned int h;
    if (interface_version >= 3) {
        ((copy_data_t)bytes_of)(insn, copy, sizeof copy);
    } else {
        bytes = ((data_t)bytes_of)(insn);
    }
    h = bytes[0] | (unsigned int)bytes[1] << 8;
    k->cycles = 1;
    if (h < 0xE800) { /* what the emulator says about sizes is wrong at the end of a page */
        k->end = k->first + 2;
        classify_short(k, h);
    } else {
        k->end = k->first + 4;
        classify_long(k, h, bytes[2] | (unsigned int)bytes[3] << 8);
    }
}

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    const size_t n = qemu_plugin_tb_n_insns(block);
    struct known *const all = calloc(n, sizeof *all); /* lives as long as the block, which is to the end */
    (void)id;
    if (all == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; ++i) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(block, i);
        all[i].first = qemu_plugin_insn_vaddr(insn);
        all[i].region = region_of(all[i].first);
        if (rule.divide != 0) {
            classify(&all[i], insn);
        }
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_executed, QEMU_PLUGIN_CB_NO_REGS, &all[i]);
    }
}

static void finish(void)
{
    fclose(counts);
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct about *about, int argc, char **argv)
{
    unsigned long long first;
    unsigned long long end;
    int region;
    FILE *const from = fopen("regions.txt", "r");
    interface_version = about->version.newest;
    if (argc > 0 && sscanf(argv[0], "cycles=%u:%u:%u:%u", &rule.accumulate, &rule.multiply_long, &rule.accumulate_long,
                           &rule.divide) != 4) {
        return 1;
    }
    counts = fopen("counts.txt", "w");
    if (from == NULL || counts == NULL) {
        return 1;
    }
    while (fscanf(from, "%llx %llx %x", &first, &end, (unsigned int *)&region) == 3) {
        ranges = realloc(ranges, (range_count + 1) * sizeof *ranges);
        if (ranges == NULL) {
            return 1;
        }
        ranges[range_count].first = first;
        ranges[range_count].end = end;
        ranges[range_count++].region = region;
    }
    fclose(from);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    return atexit(finish);
}
