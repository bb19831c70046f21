/* What the two halves of compiling a plan share: plan.c and plan_levels.c; nobody else's. */
#ifndef BW_PLAN_PARTS_H
#define BW_PLAN_PARTS_H

#include "decode_plan.h"

#include <stddef.h>

typedef struct plan_maker {
    const bw_plan_spec *spec;
    bw_plan *plan;
    char *error;
    uint32_t error_bytes;
} plan_maker;

/* Says why and returns false. */
__attribute__((format(printf, 2, 3))) bool bw_plan_refuse(plan_maker *maker, const char *format, ...);
/* Length of a text in a fixed array, or -1 when its NUL is missing. */
int bw_plan_text(const char *text, size_t room);

/* Compiles a level list; false with the reason told. */
bool bw_plan_levels(plan_maker *maker, uint32_t number);

#endif
