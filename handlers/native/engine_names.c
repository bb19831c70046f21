/* By which names messages mean a book: the venue's symbols, and ids that a connection bound to one.
 *
 * Where a venue names books by ids that its acknowledgement gives out, data may overtake the
 * acknowledgement: such frames wait in a few slots until their id is bound, or until others need the room.
 */
#include "engine_state.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_words(const uint64_t *word, uint32_t words, uint64_t hash) {
    for (uint32_t i = 0; i < words; i++) {
        hash = (hash ^ word[i]) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return hash;
}

#define HASH_START 0x9e3779b97f4a7c15ull

static inline uint64_t part_of_word(const char *text, uint32_t bytes) {
    if (bytes >= 4) {
        uint32_t first, last;
        memcpy(&first, text, sizeof first);
        memcpy(&last, text + bytes - sizeof last, sizeof last);
        return first | (uint64_t)last << (8 * (bytes - sizeof last));
    }
    uint32_t middle = bytes / 2, end = bytes - 1;
    return (uint8_t)text[0] | (uint64_t)(uint8_t)text[middle] << (8 * middle) |
           (uint64_t)(uint8_t)text[end] << (8 * end);
}

/* Bytes (at least one) to zero-padded words; returns how many. Made of loads that overlap: what is stored
 * piece by piece must not be loaded whole right behind. */
static inline uint32_t name_words(const char *text, uint32_t bytes, uint64_t word[BW_SYMBOL_WORDS]) {
    const uint32_t whole = bytes / 8, rest = bytes % 8;
    for (uint32_t i = 0; i < whole; i++) memcpy(&word[i], text + 8 * i, sizeof word[i]);
    if (rest == 0) return whole;
    if (whole == 0) {
        word[0] = part_of_word(text, bytes);
    } else {
        uint64_t last;
        memcpy(&last, text + bytes - sizeof last, sizeof last);
        word[whole] = last >> (64 - 8 * rest);
    }
    return whole + 1;
}

static inline bool name_is(const bw_name *name, const uint64_t *word, uint32_t words, uint32_t bytes) {
    if (name->bytes != bytes) return false;
    for (uint32_t i = 0; i < words; i++)
        if (name->word[i] != word[i]) return false;
    return true;
}

/* -- symbols ------------------------------------------------------------------------------------- */

bw_tracked *bw_find_symbol(const bw_engine *engine, const char *text, uint32_t bytes) {
    uint64_t word[BW_SYMBOL_WORDS];
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX) return NULL;
    uint32_t words = name_words(text, bytes, word);
    for (uint64_t at = hash_words(word, words, HASH_START);; at++) {
        uint32_t entry = engine->table[at & engine->table_mask];
        if (entry == 0) return NULL;
        bw_tracked *tracked = &engine->book[entry - 1];
        if (name_is(&tracked->symbol, word, words, bytes)) return tracked;
    }
}

void bw_name_book(bw_engine *engine, bw_tracked *tracked, const char *symbol, uint32_t bytes) {
    tracked->symbol.bytes = bytes;
    uint32_t words = name_words(symbol, bytes, tracked->symbol.word);
    uint64_t at = hash_words(tracked->symbol.word, words, HASH_START);
    while (engine->table[at & engine->table_mask]) at++;
    engine->table[at & engine->table_mask] = tracked->index + 1;
}

/* -- bound ids ----------------------------------------------------------------------------------- */

#define EARLY_FRAMES 16u
#define EARLY_BYTES (64u << 10) /* of one frame, its padding included */

typedef struct bound_id {
    uint32_t connection;
    uint32_t book;
    bw_name name;
} bound_id;

typedef struct early_frame {
    uint32_t connection;
    uint32_t bytes; /* 0: free */
    int64_t receive_ns;
    bw_name name;
    char text[EARLY_BYTES];
} early_frame;

struct bw_bindings {
    uint32_t capacity, count; /* of `id` */
    bound_id *id;
    uint32_t table_mask;
    uint32_t *table; /* hash of connection and id -> index + 1 */
    uint32_t early_next; /* slot that is given up next */
    early_frame early[EARLY_FRAMES];
};

bw_bindings *bw_bindings_new(uint32_t books) {
    bw_bindings *bindings = calloc(1, sizeof *bindings);
    if (!bindings) return NULL;
    uint32_t slots = 16;
    bindings->capacity = 2 * books; /* a book moves from one connection to another */
    while (slots < 4 * bindings->capacity) slots *= 2;
    bindings->table_mask = slots - 1;
    bindings->id = calloc(bindings->capacity, sizeof *bindings->id);
    bindings->table = calloc(slots, sizeof *bindings->table);
    if (bindings->id && bindings->table) return bindings;
    bw_bindings_free(bindings);
    return NULL;
}

void bw_bindings_free(bw_bindings *bindings) {
    if (!bindings) return;
    free(bindings->id);
    free(bindings->table);
    free(bindings);
}

static void index_ids(bw_bindings *bindings) {
    memset(bindings->table, 0, ((size_t)bindings->table_mask + 1) * sizeof *bindings->table);
    for (uint32_t i = 0; i < bindings->count; i++) {
        const bound_id *id = &bindings->id[i];
        uint64_t at = hash_words(id->name.word, (id->name.bytes + 7) / 8, HASH_START + id->connection);
        while (bindings->table[at & bindings->table_mask]) at++;
        bindings->table[at & bindings->table_mask] = i + 1;
    }
}

static bound_id *find_id(const bw_bindings *bindings, uint32_t connection, const char *text, uint32_t bytes) {
    uint64_t word[BW_SYMBOL_WORDS];
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX) return NULL;
    uint32_t words = name_words(text, bytes, word);
    for (uint64_t at = hash_words(word, words, HASH_START + connection);; at++) {
        uint32_t entry = bindings->table[at & bindings->table_mask];
        if (entry == 0) return NULL;
        bound_id *id = &bindings->id[entry - 1];
        if (id->connection == connection && name_is(&id->name, word, words, bytes)) return id;
    }
}

bw_tracked *bw_find_bound(const bw_engine *engine, uint32_t connection, const char *text, uint32_t bytes) {
    const bound_id *id = find_id(engine->bindings, connection, text, bytes);
    return id ? &engine->book[id->book] : NULL;
}

bool bw_bind_id(bw_engine *engine, uint32_t connection, const bw_tracked *tracked, const char *text,
                uint32_t bytes) {
    bw_bindings *bindings = engine->bindings;
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX) return false;
    bound_id *id = find_id(bindings, connection, text, bytes);
    for (uint32_t i = 0; !id && i < bindings->count; i++) { /* the book's id before this one */
        bound_id *other = &bindings->id[i];
        if (other->connection == connection && other->book == tracked->index) id = other;
    }
    if (!id) {
        if (bindings->count == bindings->capacity) return false;
        id = &bindings->id[bindings->count++];
    }
    *id = (bound_id){.connection = connection, .book = tracked->index, .name = {.bytes = bytes}};
    name_words(text, bytes, id->name.word);
    index_ids(bindings);
    return true;
}

void bw_forget_ids(bw_engine *engine, uint32_t connection) {
    bw_bindings *bindings = engine->bindings;
    if (!bindings) return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bindings->count; i++) {
        if (bindings->id[i].connection != connection) bindings->id[kept++] = bindings->id[i];
    }
    bindings->count = kept;
    index_ids(bindings);
    for (uint32_t i = 0; i < EARLY_FRAMES; i++) {
        early_frame *early = &bindings->early[i];
        if (early->bytes == 0 || early->connection != connection) continue;
        early->bytes = 0;
        bw_count(&engine->stats->unknown_symbols, 1);
    }
}

/* -- frames before their id ----------------------------------------------------------------------- */

bool bw_keep_early(bw_engine *engine, uint32_t connection, const char *id, uint32_t id_bytes,
                   const char *text, size_t bytes, int64_t receive_ns) {
    bw_bindings *bindings = engine->bindings;
    if (bytes + BW_ENGINE_PADDING > EARLY_BYTES || id_bytes == 0 || id_bytes > BW_SYMBOL_BYTES_MAX)
        return false;
    early_frame *early = &bindings->early[bindings->early_next++ % EARLY_FRAMES];
    if (early->bytes) bw_count(&engine->stats->unknown_symbols, 1);
    early->connection = connection;
    early->bytes = (uint32_t)bytes;
    early->receive_ns = receive_ns;
    early->name.bytes = id_bytes;
    name_words(id, id_bytes, early->name.word);
    memcpy(early->text, text, bytes);
    memset(early->text + bytes, 0, BW_ENGINE_PADDING);
    return true;
}

const char *bw_next_early(bw_engine *engine, uint32_t *cursor, uint32_t *connection, size_t *bytes,
                          int64_t *receive_ns) {
    bw_bindings *bindings = engine->bindings;
    for (; *cursor < EARLY_FRAMES; ++*cursor) {
        uint32_t at = (bindings->early_next + *cursor) % EARLY_FRAMES; /* the oldest first */
        early_frame *early = &bindings->early[at];
        const char *name = (const char *)early->name.word;
        if (early->bytes == 0 || !find_id(bindings, early->connection, name, early->name.bytes)) continue;
        *connection = early->connection;
        *bytes = early->bytes;
        *receive_ns = early->receive_ns;
        early->bytes = 0;
        return early->text;
    }
    return NULL;
}
