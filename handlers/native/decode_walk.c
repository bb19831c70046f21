/* The walk along the trie. Compiled for every CPU and again for those that can do more, each under its own
 * name. */
#include "decode_simd.h"

#ifndef BW_WALK
#define BW_WALK bw_decode_walk_portable
#endif

#include "decode_text.h"
#include "decode_layout.h"

/* Lists are read inside of the walk over their object: a call costs as much as a level. */
#define BW_IN_PLACE __attribute__((always_inline)) static inline

static const char *walk_object(bw_decoder *d, const char *p, uint32_t node, bw_item *item);
static const char *walk_array(bw_decoder *d, const char *p, uint32_t node, bw_item *item);
static const char *take_value_twice(bw_decoder *d, const char *p, const bw_trie_key *key, bw_item *item);

static void note_fault(bw_decoder *d, bw_item *item, const char *p, const char *why) {
    if (item->fault) return;
    item->fault = why;
    item->fault_at = (uint32_t)(p - d->text);
}

/* The key at p by looking at all of the node's; *key NULL when the plan does not name it. Returns
 * behind the colon. */
static const char *find_key_slowly(bw_decoder *d, const char *p, uint32_t node, const bw_trie_key **key) {
    const bw_trie_node *keys = &d->plan->node[node];
    const bw_trie_key *candidate = &d->plan->key[keys->key_first], *last = candidate + keys->key_count;
    for (; candidate < last; candidate++) {
        if (key_matches(p, candidate)) {
            *key = candidate;
            return p + candidate->quoted_bytes;
        }
    }
    *key = NULL;
    bw_value name;
    if (*p != '"') return text_fail(d, p, "a key was expected");
    p = take_string(d, p, &name);
    if (!p) return NULL;
    const char *colon = skip_space(d, p);
    if (*colon != ':') return text_fail(d, colon, "':' expected behind a key");
    if (colon != p || name.escaped) {
        for (candidate = &d->plan->key[keys->key_first]; candidate < last; candidate++) {
            if (bw_key_equals(d->text, &name, candidate->quoted + 1, candidate->bytes)) *key = candidate;
        }
    }
    return colon + 1;
}

/* The key at p, guessed from the order of the last frame. */
static inline const char *find_key(bw_decoder *d, const char *p, uint32_t node, uint8_t **guess,
                                   const bw_trie_key **key) {
    if (p >= d->end) return text_fail(d, p, "the frame ends inside an object");
    const bw_trie_key *guessed = &d->plan->key[**guess];
    if (__builtin_expect(key_matches(p, guessed), 1)) {
        *key = guessed;
        *guess = &d->key_next[**guess];
        return skip_space(d, p + guessed->quoted_bytes);
    }
    p = find_key_slowly(d, p, node, key);
    if (!p) return NULL;
    if (*key) {
        **guess = (uint8_t)(*key - d->plan->key);
        *guess = &d->key_next[**guess];
    }
    return skip_space(d, p);
}

static inline void mark(bw_decoder *d, enum bw_mark_kind what, const char *p, const char *behind,
                        uint32_t target, const bw_item *item) {
    if (d->mark_count == BW_MARKS_MAX) return;
    d->mark[d->mark_count++] =
        (bw_mark){.at = (uint32_t)(p - d->text), .behind = (uint32_t)(behind - d->text),
                  .what = (uint8_t)what, .target = (uint8_t)target, .of_item = item != &d->frame};
}

/* What has no mark cannot be laid over the next frame. */
static inline void learn_nothing(bw_decoder *d) {
    d->mark_count = BW_MARKS_MAX;
}

static const char *walk_items(bw_decoder *d, const char *p, uint32_t node, bw_item *outer) {
    if (*p != '[') {
        note_fault(d, outer, p, "an array of items was expected");
        return skip_value(d, p);
    }
    p = skip_space(d, p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        if (p >= d->end) return text_fail(d, p, "the frame ends inside an array");
        if (*p == '{') {
            if (d->item_count == BW_ITEMS_MAX) return text_fail(d, p, "more items than a frame may have");
            bw_item *item = &d->item[d->item_count++];
            bw_item_reset(d, item);
            p = walk_object(d, p + 1, node, item);
        } else {
            note_fault(d, outer, p, "an item that is no object");
            p = skip_value(d, p);
        }
        if (!p) return NULL;
        p = skip_space(d, p);
        if (p >= d->end) return text_fail(d, p, "the frame ends inside an array");
        if (*p == ']') return p + 1;
        if (*p != ',') return text_fail(d, p, "',' or ']' expected");
        p = skip_space(d, p + 1);
    }
}

BW_IN_PLACE const char *walk_levels(bw_decoder *d, const char *p, uint32_t target, bw_item *item) {
    if (item->levels_seen & 1u << target) {
        note_fault(d, item, p, "a level list stands twice");
        return skip_value(d, p);
    }
    item->levels_seen |= 1u << target;
    level_run run = level_run_of(d, target, item);
    const bool plain = *p == '[' && run.plan->is_plain;
    const char *after = plain ? take_levels(&run, p) : take_forms(&run, p);
    const bool noted = d->plan->checksum.text == BW_CHECKSUM_RECEIVED && run.plan->shape == BW_SHAPE_ARRAYS;
    if (after && noted) note_decimals(item, run.plan, p, after);
    if (after) {
        if (plain && !noted) mark(d, BW_MARK_LIST, p, after, target, item);
        else learn_nothing(d);
        return after;
    }
    for (uint32_t side = 0; side < 2; side++) {
        d->level_used[side] = item->level_first[side] + item->level_count[side];
    }
    note_fault(d, item, run.fault_at, run.fault);
    return skip_value(d, p);
}

static inline const char *take_slot(bw_decoder *d, const char *p, uint32_t target, bw_item *item) {
    bw_value *value = &item->slot[target];
    const char *after = *p == '"' ? take_string(d, p, value) : skip_value(d, p);
    if (!after) return NULL; /* the slot is not there: who looks for the frame's symbol must not trust it */
    item->slots |= 1u << target;
    mark(d, BW_MARK_SLOT, p, after, target, item);
    if (*p == '"') return after;
    *value = (bw_value){.at = (uint32_t)(p - d->text), .bytes = (uint32_t)(after - p),
                        .kind = *p == '{' || *p == '[' ? BW_VALUE_NESTED : BW_VALUE_BARE};
    return after;
}

static const char *walk_inside(bw_decoder *d, const char *p, uint32_t node, bw_item *item) {
    const bw_trie_node *keys = &d->plan->node[node];
    if (*p == '{' && keys->key_count) return walk_object(d, p + 1, node, item);
    if (*p == '[' && keys->is_array) return walk_array(d, p + 1, node, item);
    note_fault(d, item, p, keys->key_count ? "an object was expected" : "an array was expected");
    return skip_value(d, p);
}

/* What stands once in a frame; values of keys that go elsewhere besides. */
static const char *take_rare(bw_decoder *d, const char *p, const bw_trie_key *key, bw_item *item) {
    if (key->action == BW_KEY_ITEMS) return walk_items(d, p, key->target, item);
    if (key->action == BW_KEY_OBJECT) return walk_inside(d, p, key->target, item);
    return take_value_twice(d, p, key, item);
}

BW_IN_PLACE const char *take_value(bw_decoder *d, const char *p, const bw_trie_key *key, bw_item *item) {
    if (key->action == BW_KEY_SLOT) return take_slot(d, p, key->target, item);
    if (key->action == BW_KEY_LEVELS) return walk_levels(d, p, key->target, item);
    return take_rare(d, p, key, item);
}

/* The same for callers that need not be quick. */
static const char *take_value_apart(bw_decoder *d, const char *p, const bw_trie_key *key, bw_item *item) {
    return take_value(d, p, key, item);
}

/* The same for a key whose value is remembered besides. */
static const char *take_value_twice(bw_decoder *d, const char *p, const bw_trie_key *key, bw_item *item) {
    bw_value value;
    const char *after;
    bw_trie_key once = {.action = key->way, .target = key->target};
    if (*p == '"') {
        after = take_string(d, p, &value);
    } else {
        after = take_value_apart(d, p, &once, item);
        value = (bw_value){.at = (uint32_t)(p - d->text), .bytes = (uint32_t)(after - p),
                           .kind = *p == '{' || *p == '[' ? BW_VALUE_NESTED : BW_VALUE_BARE};
    }
    if (!after) return NULL;
    learn_nothing(d);
    item->slots |= 1u << key->also;
    item->slot[key->also] = value;
    if (*p == '"') note_fault(d, item, p, "a text where levels, items or an object were expected");
    return after;
}

static const char *walk_object(bw_decoder *d, const char *p, uint32_t node, bw_item *item) {
    uint8_t *guess = &d->key_first[node];
    p = skip_space(d, p);
    if (*p == '}') return p + 1;
    for (;;) {
        const bw_trie_key *key;
        p = find_key(d, p, node, &guess, &key);
        if (!p) return NULL;
        const char *value = p;
        p = key ? take_value(d, p, key, item) : skip_value(d, p);
        if (!p) return NULL;
        if (!key) mark(d, BW_MARK_SKIPPED, value, p, 0, item);
        p = skip_space(d, p);
        if (p >= d->end) return text_fail(d, p, "the frame ends inside an object");
        if (*p == '}') return p + 1;
        if (*p != ',') return text_fail(d, p, "',' or '}' expected");
        p = skip_space(d, p + 1);
    }
}

/* Elements of an array of which the plan names some by their position; p behind the bracket. */
static const char *walk_array(bw_decoder *d, const char *p, uint32_t node, bw_item *item) {
    const bw_trie_node *keys = &d->plan->node[node];
    p = skip_space(d, p);
    if (*p == ']') return p + 1;
    for (uint32_t at = 0;; at++) {
        if (p >= d->end) return text_fail(d, p, "the frame ends inside an array");
        uint32_t key = at < BW_PLAN_POSITIONS_MAX ? keys->at[at] : 0;
        p = key ? take_value_apart(d, p, &d->plan->key[key - 1], item) : skip_value(d, p);
        if (!p) return NULL;
        p = skip_space(d, p);
        if (p >= d->end) return text_fail(d, p, "the frame ends inside an array");
        if (*p == ']') return p + 1;
        if (*p != ',') return text_fail(d, p, "',' or ']' expected");
        p = skip_space(d, p + 1);
    }
}

static const char *walk_root(bw_decoder *d, const char *p) {
    const bw_trie_node *root = &d->plan->node[0];
    if (p < d->end && *p == '{' && root->key_count) return walk_object(d, p + 1, 0, &d->frame);
    if (p < d->end && *p == '[' && root->is_array) return walk_array(d, p + 1, 0, &d->frame);
    return text_fail(d, p, root->is_array ? "no JSON object or array" : "no JSON object");
}

static bool walk_frame(bw_decoder *d) {
    bw_item_reset(d, &d->frame);
    const char *p = walk_root(d, skip_space(d, d->text));
    if (!p) return false;
    if (p > d->end) {
        text_fail(d, d->end, "the frame ends inside an object");
        return false;
    }
    p = skip_space(d, p);
    if (p != d->end) {
        text_fail(d, p, "something stands behind the JSON object");
        return false;
    }
    if (d->item_count && d->frame.levels_seen) {
        text_fail(d, d->text, "levels both inside and outside of items");
        return false;
    }
    return true;
}

bool BW_WALK(bw_decoder *d) {
#if BW_SIMD_AVX2
    if (read_by_layout(d)) return true;
    if (!walk_frame(d)) return false;
    learn_layout(d);
    return true;
#else
    return walk_frame(d);
#endif
}
