/* QEMU plugin: how often each block of guest code ran, for blocks.py. Prints the lines of /proc/self/maps,
 * an empty line, then `address runs code` for each block: of its code, the bytes of each instruction in
 * hexadecimal, and a comma. */
#include <glib.h>
#include <inttypes.h>
#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

typedef struct {
    uint64_t address;
    gchar *code;
    struct qemu_plugin_scoreboard *runs;
} Block;

static GMutex lock;
static GHashTable *blocks;

static guint hash(gconstpointer block) {
    return ((const Block *)block)->address * 31 + g_str_hash(((const Block *)block)->code);
}

static gboolean equal(gconstpointer a, gconstpointer b) {
    const Block *left = a, *right = b;
    return left->address == right->address && g_str_equal(left->code, right->code);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t at = 0; at < qemu_plugin_tb_n_insns(tb); at++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, at);
        uint8_t bytes[16];
        size_t length = qemu_plugin_insn_data(instruction, bytes, sizeof(bytes));
        for (size_t byte = 0; byte < length; byte++)
            g_string_append_printf(text, "%02x", bytes[byte]);
        g_string_append_c(text, ',');
    }
    Block key = {qemu_plugin_tb_vaddr(tb), text->str, NULL};
    g_mutex_lock(&lock);
    Block *block = g_hash_table_lookup(blocks, &key);
    if (block == NULL) {
        block = g_new(Block, 1);
        block->address = key.address;
        block->code = g_strdup(text->str);
        block->runs = qemu_plugin_scoreboard_new(sizeof(uint64_t));
        g_hash_table_add(blocks, block);
    }
    g_mutex_unlock(&lock);
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
        tb, QEMU_PLUGIN_INLINE_ADD_U64, qemu_plugin_scoreboard_u64(block->runs), 1);
}

static void ended(qemu_plugin_id_t id, void *data) {
    GHashTableIter iter;
    gpointer entry;
    g_autofree char *maps = NULL;
    g_file_get_contents("/proc/self/maps", &maps, NULL, NULL);
    g_autoptr(GString) report = g_string_new(maps);
    g_string_append(report, "\n");
    g_hash_table_iter_init(&iter, blocks);
    while (g_hash_table_iter_next(&iter, &entry, NULL)) {
        Block *block = entry;
        uint64_t runs = qemu_plugin_u64_sum(qemu_plugin_scoreboard_u64(block->runs));
        g_string_append_printf(report, "%" PRIx64 " %" PRIu64 " %s\n", block->address, runs, block->code);
    }
    qemu_plugin_outs(report->str);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                           char **argv) {
    blocks = g_hash_table_new(hash, equal);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
