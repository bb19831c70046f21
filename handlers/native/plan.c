/* Checks a venue's plan spec and compiles it into the trie the decoder runs. Start-up only. */
#include "plan_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool counts_fit(plan_maker *maker) {
    const bw_plan_spec *spec = maker->spec;
    if (spec->key_count == 0 || spec->key_count > BW_PLAN_KEYS_MAX) {
        return bw_plan_refuse(maker, "plan: %u keys, 1 to %u can be held", spec->key_count, BW_PLAN_KEYS_MAX);
    }
    if (spec->levels_count > BW_PLAN_LEVELS_MAX) {
        return bw_plan_refuse(maker, "plan: %u level lists, at most %u", spec->levels_count,
                              BW_PLAN_LEVELS_MAX);
    }
    if (spec->message_count == 0 || spec->message_count > BW_PLAN_MESSAGES_MAX) {
        return bw_plan_refuse(maker, "plan: %u messages, 1 to %u can be held", spec->message_count,
                              BW_PLAN_MESSAGES_MAX);
    }
    if (spec->sync_rule > BW_SYNC_REQUESTED_SNAPSHOT) {
        return bw_plan_refuse(maker, "plan: unknown sync rule %u", spec->sync_rule);
    }
    if (spec->continuity > BW_CONTINUITY_JUMPS) {
        return bw_plan_refuse(maker, "plan: unknown continuity %u", spec->continuity);
    }
    if (spec->time_format > BW_TIME_BY_SIZE) {
        return bw_plan_refuse(maker, "plan: unknown time format %u", spec->time_format);
    }
    const uint32_t joining = 1u << BW_CONTINUITY_RANGE | 1u << BW_CONTINUITY_LINK | 1u << BW_CONTINUITY_NEXT |
        1u << BW_CONTINUITY_COVERS;
    bool joins = spec->sync_rule == BW_SYNC_REST_SNAPSHOT || spec->sync_rule == BW_SYNC_REQUESTED_SNAPSHOT;
    if (joins && !(joining & 1u << spec->continuity)) {
        return bw_plan_refuse(maker,
                              "plan: a snapshot from elsewhere joins by update ids: continuity must be LINK, "
                              "NEXT, RANGE or COVERS");
    }
    if (spec->straddle && spec->continuity != BW_CONTINUITY_LINK) {
        return bw_plan_refuse(maker, "plan: only a LINK can straddle a snapshot");
    }
    if (spec->audit && spec->sync_rule != BW_SYNC_FEED_SNAPSHOT) {
        return bw_plan_refuse(maker, "plan: only snapshots of the feed can be audits");
    }
    if (spec->client_cuts && spec->depth == 0) {
        return bw_plan_refuse(maker, "plan: client_cuts needs a depth to cut to");
    }
    return true;
}

static bool compile_key(plan_maker *maker, const bw_key_spec *spec, bw_trie_key *key) {
    int bytes = bw_plan_text(spec->text, sizeof spec->text);
    if (bytes <= 0) return bw_plan_refuse(maker, "plan: a key of node %u is empty or not terminated",
                                          spec->node);
    for (int i = 0; i < bytes; i++) {
        if (spec->text[i] == '"' || spec->text[i] == '\\' || (unsigned char)spec->text[i] < ' ') {
            return bw_plan_refuse(maker, "plan: key '%s' holds a character that JSON escapes", spec->text);
        }
    }
    if (spec->action == BW_KEY_LEVELS && spec->target < maker->spec->levels_count &&
        maker->spec->levels[spec->target].shape == BW_SHAPE_SLOTS) {
        return bw_plan_refuse(maker, "plan: key '%s' leads to a list that stands in slots", spec->text);
    }
    uint32_t limit = spec->action == BW_KEY_SLOT     ? BW_SLOT_COUNT
                     : spec->action == BW_KEY_LEVELS ? maker->spec->levels_count
                                                     : BW_PLAN_NODES_MAX;
    if (spec->action > BW_KEY_LEVELS || spec->target >= limit || spec->also > BW_SLOT_COUNT ||
        spec->position > BW_PLAN_POSITIONS_MAX) {
        return bw_plan_refuse(maker, "plan: key '%s' has action %u, target %u, slot %u, place %u: bad",
                              spec->text, spec->action, spec->target, spec->also, spec->position);
    }
    memset(key, 0, sizeof *key);
    key->bytes = (uint8_t)bytes;
    key->quoted_bytes = (uint8_t)snprintf(key->quoted, sizeof key->quoted, "\"%s\":", spec->text);
    uint32_t head = key->quoted_bytes < BW_KEY_HEAD_BYTES ? key->quoted_bytes : BW_KEY_HEAD_BYTES;
    memcpy(key->head, key->quoted, head);
    memset(key->mask, 0xff, head);
    key->action = (uint8_t)spec->action;
    key->target = (uint8_t)spec->target;
    key->way = key->action;
    if (spec->also) {
        key->action = BW_KEY_TWICE;
        key->also = (uint8_t)(spec->also - 1);
    }
    key->number = spec->number;
    return true;
}

/* Puts the key at `used` where its node finds it. */
static bool place_key(plan_maker *maker, const bw_key_spec *from, uint16_t used) {
    bw_plan *plan = maker->plan;
    bw_trie_node *node = &plan->node[from->node];
    for (uint32_t k = node->key_first; k < used; k++) {
        bool twice = strcmp(plan->key[k].quoted, plan->key[used].quoted) == 0;
        if (twice || (from->number && plan->key[k].number == from->number)) {
            return bw_plan_refuse(maker, "plan: key '%s', field %u, stands twice in node %u", from->text,
                                  from->number, from->node);
        }
    }
    plan->has_numbers |= from->number != 0;
    if (from->position) {
        node->at[from->position - 1] = (uint8_t)(used + 1);
        node->is_array = true;
    } else {
        node->key_count++;
    }
    node->all_count++;
    return true;
}

/* The keys of a node, those of positions (`placed`) or the others. */
static bool compile_node_keys(plan_maker *maker, uint32_t node, bool placed, uint16_t *used) {
    const bw_plan_spec *spec = maker->spec;
    for (uint32_t i = 0; i < spec->key_count; i++) {
        const bw_key_spec *from = &spec->key[i];
        if (from->node >= BW_PLAN_NODES_MAX) {
            return bw_plan_refuse(maker, "plan: key %u stands in node %u, at most %u", i, from->node,
                                  BW_PLAN_NODES_MAX - 1);
        }
        if (from->node != node || (from->position != 0) != placed) continue;
        if (!compile_key(maker, from, &maker->plan->key[*used])) return false;
        if (from->action <= BW_KEY_ITEMS && from->target <= node) {
            return bw_plan_refuse(maker, "plan: key '%s' of node %u leads to node %u; number children above",
                                  from->text, node, from->target);
        }
        if (!place_key(maker, from, *used)) return false;
        ++*used;
    }
    return true;
}

/* Keys grouped by node; a child's number must be above its parent's, so walks end. */
static bool compile_keys(plan_maker *maker) {
    const bw_plan_spec *spec = maker->spec;
    bw_plan *plan = maker->plan;
    uint16_t used = 0;
    for (uint32_t node = 0; node < BW_PLAN_NODES_MAX; node++) {
        plan->node[node].key_first = used;
        if (!compile_node_keys(maker, node, false, &used) || !compile_node_keys(maker, node, true, &used)) {
            return false;
        }
        bool asked = node == 0;
        for (uint32_t i = 0; i < spec->key_count; i++) {
            asked |= spec->key[i].action <= BW_KEY_ITEMS && spec->key[i].target == node;
        }
        if (asked && plan->node[node].all_count == 0) {
            return bw_plan_refuse(maker, "plan: node %u has no keys", node);
        }
    }
    return true;
}

/* An ITEMS array inside an ITEMS array would need two levels of elements: refused. */
static bool items_nest(const bw_plan *plan, uint32_t node, bool inside) {
    for (uint32_t i = 0; i < plan->node[node].all_count; i++) {
        const bw_trie_key *key = &plan->key[plan->node[node].key_first + i];
        if (key->way == BW_KEY_ITEMS && inside) return true;
        if (key->way <= BW_KEY_ITEMS && items_nest(plan, key->target, inside || key->way == BW_KEY_ITEMS)) {
            return true;
        }
    }
    return false;
}

static bool compile_condition(plan_maker *maker, uint32_t number, const bw_condition_spec *from,
                              bw_message_plan *message, bw_condition *condition) {
    int bytes = bw_plan_text(from->equals, sizeof from->equals);
    bool in_range = from->test == BW_TEST_EQUALS  ? bytes >= 0
                    : from->test == BW_TEST_SAME  ? from->other < BW_SLOT_COUNT
                    : from->test == BW_TEST_FORM ? from->other <= BW_FORM_BARE
                                                 : false;
    if (from->slot >= BW_SLOT_COUNT || !in_range) {
        return bw_plan_refuse(maker, "plan: a condition of message %u is out of range", number);
    }
    condition->slot = (uint8_t)from->slot;
    condition->test = (uint8_t)from->test;
    condition->other = (uint8_t)from->other;
    message->slots_needed |= 1u << from->slot;
    if (from->test == BW_TEST_SAME) {
        message->slots_needed |= 1u << from->other;
        maker->plan->compares_values = true;
    }
    if (from->test != BW_TEST_EQUALS) return true;
    condition->bytes = (uint8_t)bytes;
    memcpy(condition->equals, from->equals, (size_t)bytes);
    return true;
}

static bool compile_roles(plan_maker *maker, uint32_t number) {
    const bw_message_spec *spec = &maker->spec->message[number];
    bw_message_plan *message = &maker->plan->message[number];
    for (uint32_t i = 0; i < BW_ROLE_COUNT; i++) {
        if (spec->role[i] > BW_SLOT_COUNT) {
            return bw_plan_refuse(maker, "plan: message %u has slot %u in a role: out of range", number,
                                  spec->role[i] - 1);
        }
        message->role[i] = (uint8_t)(spec->role[i] ? spec->role[i] - 1 : i);
    }
    if (spec->binds > BW_SLOT_COUNT || (spec->binds && spec->kind != BW_MESSAGE_CONTROL)) {
        return bw_plan_refuse(maker, "plan: message %u binds by slot %u: only a control message can", number,
                              spec->binds);
    }
    message->binds = (uint8_t)(spec->binds ? spec->binds - 1 : BW_SLOT_COUNT);
    maker->plan->binds |= spec->binds != 0;
    return true;
}

static bool compile_message(plan_maker *maker, uint32_t number) {
    const bw_message_spec *spec = &maker->spec->message[number];
    bw_message_plan *message = &maker->plan->message[number];
    if (spec->kind > BW_MESSAGE_CHECKSUM || spec->condition_count > BW_PLAN_CONDITIONS_MAX) {
        return bw_plan_refuse(maker, "plan: message %u has kind %u and %u conditions: out of range", number,
                              spec->kind, spec->condition_count);
    }
    if (spec->slots_level >= 0) {
        if ((uint32_t)spec->slots_level >= maker->spec->levels_count ||
            maker->spec->levels[spec->slots_level].shape != BW_SHAPE_SLOTS) {
            return bw_plan_refuse(maker, "plan: message %u is one level, but list %d is not of that shape",
                                  number, spec->slots_level);
        }
        message->slots_needed |= 1u << BW_SLOT_PRICE | 1u << BW_SLOT_QUANTITY;
        if (maker->spec->levels[spec->slots_level].side == BW_LEVELS_BY_FIELD) {
            message->slots_needed |= 1u << BW_SLOT_SIDE;
        }
    }
    message->slots_level = spec->slots_level;
    message->kind = spec->kind;
    message->condition_count = spec->condition_count;
    for (uint32_t i = 0; i < spec->condition_count; i++) {
        bw_condition *condition = &message->condition[i];
        if (!compile_condition(maker, number, &spec->condition[i], message, condition)) return false;
    }
    return compile_roles(maker, number);
}

static bool compile_checksum(plan_maker *maker) {
    bw_checksum_spec *checksum = &maker->plan->checksum;
    *checksum = maker->spec->checksum;
    if (checksum->levels == 0) return true;
    if (checksum->levels > BW_CHECKSUM_LEVELS_MAX || checksum->order > BW_CHECKSUM_BIDS_THEN_ASKS ||
        checksum->text > BW_CHECKSUM_JAVASCRIPT || bw_plan_text(checksum->separator, 4) < 0) {
        return bw_plan_refuse(maker, "plan: checksum over %u levels (at most %u), order %u, text %u: bad",
                              checksum->levels, BW_CHECKSUM_LEVELS_MAX, checksum->order, checksum->text);
    }
    return true;
}

/* The roles a message of the book must have, or the venue's rule could never hold; bits of slots. */
static uint32_t roles_needed(const bw_plan_spec *spec, const bw_message_plan *message) {
    const uint8_t *role = message->role;
    uint32_t needed = 1u << role[BW_SLOT_SYMBOL];
    if (message->kind == BW_MESSAGE_CHECKSUM) return needed | 1u << role[BW_SLOT_CHECKSUM];
    if (message->kind != BW_MESSAGE_DELTA) return message->kind == BW_MESSAGE_SNAPSHOT ? needed : 0;
    switch (spec->continuity) {
    case BW_CONTINUITY_NONE: break;
    case BW_CONTINUITY_LINK: needed |= 1u << role[BW_SLOT_PREVIOUS] | 1u << role[BW_SLOT_LAST]; break;
    case BW_CONTINUITY_RANGE:
    case BW_CONTINUITY_OVERLAP:
    case BW_CONTINUITY_COVERS: needed |= 1u << role[BW_SLOT_FIRST] | 1u << role[BW_SLOT_LAST]; break;
    default: needed |= 1u << role[BW_SLOT_LAST]; break;
    }
    return needed;
}

/* Every slot a rule reads must be filled by some key. */
static bool slots_filled(plan_maker *maker) {
    uint32_t filled = 0, needed = 0;
    for (uint32_t i = 0; i < maker->spec->key_count; i++) {
        const bw_key_spec *key = &maker->spec->key[i];
        if (key->action == BW_KEY_SLOT) filled |= 1u << key->target;
        if (key->also) filled |= 1u << (key->also - 1);
    }
    bool checks = maker->spec->checksum.levels == 0;
    for (uint32_t i = 0; i < maker->plan->message_count; i++) {
        const bw_message_plan *message = &maker->plan->message[i];
        needed |= message->slots_needed | roles_needed(maker->spec, message);
        uint32_t symbol = 1u << message->role[BW_SLOT_SYMBOL];
        if (message->binds < BW_SLOT_COUNT) needed |= 1u << message->binds | symbol;
        checks |= (filled >> message->role[BW_SLOT_CHECKSUM] & 1u) != 0;
        bool of_a_book = message->kind == BW_MESSAGE_SNAPSHOT || message->kind == BW_MESSAGE_DELTA ||
            message->kind == BW_MESSAGE_CHECKSUM;
        maker->plan->checksum_apart |= message->kind == BW_MESSAGE_CHECKSUM;
        if (of_a_book) maker->plan->symbol_slots |= symbol;
    }
    if (!checks) needed |= 1u << BW_SLOT_CHECKSUM;
    if (needed & ~filled) {
        return bw_plan_refuse(maker, "plan: slot %d is asked for by a rule or condition, but no key fills it",
                              __builtin_ctz(needed & ~filled));
    }
    return true;
}

static bool compile(plan_maker *maker) {
    const bw_plan_spec *spec = maker->spec;
    bw_plan *plan = maker->plan;
    if (!counts_fit(maker) || !compile_keys(maker)) return false;
    if (items_nest(plan, 0, false)) return bw_plan_refuse(maker, "plan: items inside items cannot be walked");
    for (uint32_t i = 0; i < spec->levels_count; i++) {
        if (!bw_plan_levels(maker, i)) return false;
    }
    plan->message_count = spec->message_count;
    for (uint32_t i = 0; i < spec->message_count; i++) {
        if (!compile_message(maker, i)) return false;
    }
    int heartbeat = bw_plan_text(spec->text_heartbeat, sizeof spec->text_heartbeat);
    if (heartbeat < 0) return bw_plan_refuse(maker, "plan: text_heartbeat is not terminated");
    plan->text_heartbeat_bytes = (uint32_t)heartbeat;
    memcpy(plan->text_heartbeat, spec->text_heartbeat, (size_t)heartbeat);
    plan->sync_rule = spec->sync_rule;
    plan->continuity = spec->continuity;
    plan->time_format = spec->time_format;
    plan->depth = spec->depth;
    plan->snapshot_levels = spec->snapshot_levels;
    plan->client_cuts = spec->client_cuts != 0;
    plan->straddle = spec->straddle != 0;
    plan->audit = spec->audit != 0;
    return compile_checksum(maker) && slots_filled(maker);
}

bw_plan *bw_plan_new(const bw_plan_spec *spec, char *error, uint32_t error_bytes) {
    plan_maker maker = {.spec = spec, .error = error, .error_bytes = error_bytes};
    maker.plan = calloc(1, sizeof *maker.plan);
    if (!maker.plan) {
        bw_plan_refuse(&maker, "plan: no memory");
        return NULL;
    }
    if (!compile(&maker)) {
        free(maker.plan);
        return NULL;
    }
    return maker.plan;
}

void bw_plan_free(bw_plan *plan) {
    free(plan);
}
