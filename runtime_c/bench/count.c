/*
 * A plugin for QEMU that counts executed instructions by the function they belong to.
 *
 * regions.txt gives address ranges, ascending, as "first end region" in hexadecimal. Region 0 is the bench itself and is
 * not counted. Code in no range, such as a library function, counts for the region that called it. Each time control
 * comes back to region 0, counts.txt gets a line: the regions in the order in which they were entered, "region:count".
 *
 * The few functions of QEMU's plugin interface that are used are declared here, since its header is often not
 * installed; they are the same in versions 1 to 4 of the interface.
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

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = INTERFACE_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

enum { BENCH = 0, CALLERS = -1 };

struct range {
    uint64_t first;
    uint64_t end;
    int region;
};

static struct range *ranges;
static size_t range_count;
static FILE *counts;
static int current = BENCH;
static uint64_t executed;

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
    const int region = (int)(intptr_t)data;
    (void)processor;
    if (region != CALLERS && region != current) {
        if (current != BENCH) {
            fprintf(counts, region == BENCH ? "%d:%llu\n" : "%d:%llu ", current, (unsigned long long)executed);
        }
        current = region;
        executed = 0;
    }
    ++executed;
}

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    const size_t n = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t i = 0; i < n; ++i) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(block, i);
        const int region = region_of(qemu_plugin_insn_vaddr(insn));
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_executed, QEMU_PLUGIN_CB_NO_REGS, (void *)(intptr_t)region);
    }
}

static void finish(void)
{
    fclose(counts);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    unsigned long long first;
    unsigned long long end;
    int region;
    FILE *const from = fopen("regions.txt", "r");
    (void)info, (void)argc, (void)argv;
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
