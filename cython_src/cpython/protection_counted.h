/* protection_counted.h: what the two counting mechanisms share.
 *
 * Wants of its includer: SWPY_BYTES_PER_LEVEL, and the functions that are only declared here. */

#define SWPY_LEAST_LEVELS 120
#define SWPY_MOST_LEVELS 1000000
#define SWPY_RESERVE ((size_t)16 << 10)

/* The calls that a stack may have however large it is, under a recursion limit of `limit`; as many has the native
 * stack of a thread, as CPython made it. */
static inline int swpy_most(const sw_record *record, int limit);
/* The user's recursion limit as far as it counts C calls. */
static inline int swpy_limit(PyThreadState *ts);
/* What is counted down. */
static inline int *swpy_remaining(PyThreadState *ts);

static inline uintptr_t swpy_low_end(const sw_record *record)
{
    return record->base + ((uintptr_t)swpy_withheld_by_budgets(record) << 4);
}

static inline int swpy_levels(size_t size)
{
    size_t levels = size > SWPY_RESERVE ? (size - SWPY_RESERVE) / SWPY_BYTES_PER_LEVEL : 0;
    return (int)(levels < SWPY_LEAST_LEVELS ? SWPY_LEAST_LEVELS : levels > SWPY_MOST_LEVELS ? SWPY_MOST_LEVELS : levels);
}

/* The calls that a stack has room for, or its own budget. */
static inline int swpy_levels_of(const sw_record *record)
{
    uintptr_t budget = (uintptr_t)sw_cold_of(record)->own_budget << 4;
    uintptr_t size = record->top - record->base;
    return swpy_levels(budget != 0 && budget < size ? budget : size);
}

/* Has a stack all calls that CPython gives a thread? The native stacks of Python's own threads have, and those for
 * which checks are disabled. */
static inline int swpy_has_most(const sw_thread *thread, const sw_record *record)
{
    return record->policy == SW_DISABLED
        || (record == thread->native && !thread->is_foreign && sw_cold_of(record)->own_budget == 0);
}

/* The calls that a stack may have in all, under a recursion limit of `limit`. */
static inline int swpy_levels_within(const sw_thread *thread, const sw_record *record, int limit)
{
    int most = swpy_most(record, limit);
    int levels = swpy_has_most(thread, record) ? most : swpy_levels_of(record);
    return levels < most ? levels : most;
}

/* The budget that is in force in a thread state, or NULL: it is the native stack's, as CPython set it. */
static inline sw_counter *swpy_find_counter(PyThreadState *ts, sw_thread *thread)
{
    for (int i = 0; i < SW_COUNTERS; i++) {
        sw_counter *counter = &thread->counters[i];
        if (counter->ts_id == ts->id && counter->interpreter == ts->interp) {
            return budget;
        }
    }
    return NULL;
}

static inline sw_counter *swpy_new_counter(PyThreadState *ts, sw_thread *thread)
{
    sw_counter *counter = &thread->counters[thread->next_counter++ % SW_COUNTERS];
    counter->interpreter = ts->interp;
    counter->ts_id = ts->id;
    counter->record = thread->native;
    counter->native_depth_used = 0;
    counter->limit = swpy_limit(ts);
    counter->levels = swpy_most(thread->native, counter->limit);
    return budget;
}

static inline int swpy_is_effective(const sw_thread *thread, const sw_counter *counter, const sw_record *record)
{
    if (budget == NULL) {
        return record == thread->native && swpy_has_most(thread, record);
    }
    return counter->record == record && counter->levels == swpy_levels_within(thread, record, counter->limit);
}

static inline void swpy_forget_counters(sw_thread *thread)
{
    memset(thread->counters, 0, sizeof thread->counters);
}

static inline int swpy_covers(PyThreadState *ts, sw_thread *thread, uintptr_t sp)
{
    const sw_record *current = thread->current;
    return sp - current->base < current->top - current->base && current->bounds_from < SW_FROM_MAP
        && swpy_is_effective(thread, swpy_find_counter(ts, thread), current);
}

/* Where the depth of a stack is kept that is left: the native one's belongs to the thread state. */
static inline int *swpy_depth_place(const sw_thread *thread, sw_counter *counter, sw_record *record)
{
    return record == thread->native ? &counter->native_depth_used : &record->depth_used;
}

/* Calls in use on the stack whose budget is in force. Someone may have called Py_SetRecursionLimit from C, which
 * adds the difference to what remains. */
static inline int swpy_depth_used(PyThreadState *ts, const sw_counter *counter)
{
    int added = swpy_limit(ts) - counter->limit;
    return counter->levels - (*swpy_remaining(ts) - added);
}

static inline void swpy_count_down(PyThreadState *ts, const sw_thread *thread, sw_counter *counter, sw_record *to)
{
    counter->record = to;
    counter->limit = swpy_limit(ts);
    counter->levels = swpy_levels_within(thread, to, counter->limit);
    int *kept = swpy_depth_place(thread, budget, to);
    *swpy_remaining(ts) = counter->levels - *kept;
    *kept = 0; /* the thread state counts on; another one that is made on this stack starts anew */
}

static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_counter *counter = swpy_find_counter(ts, thread);
    sw_record *from = budget != NULL ? counter->record : thread->native;
    if (swpy_protection.mechanism == SWPY_NONE || swpy_is_effective(thread, budget, to)) {
        return;
    }
    if (budget == NULL) {
        budget = swpy_new_counter(ts, thread);
    }
    int used = swpy_depth_used(ts, budget);
    if (used < 0) {
        int *kept = swpy_depth_place(thread, budget, to);
        *kept = *kept + used > 0 ? *kept + used : 0;
        used = 0;
    }
    *swpy_depth_place(thread, budget, from) = used;
    swpy_count_down(ts, thread, budget, to);
}

static inline void swpy_adopt(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_counter *counter = swpy_find_counter(ts, thread);
    if (budget == NULL && !swpy_is_effective(thread, budget, to)) {
        budget = swpy_new_counter(ts, thread);
    }
    if (budget != NULL) {
        counter->record = to;
        counter->limit = swpy_limit(ts);
        counter->levels = swpy_levels_within(thread, to, counter->limit);
    }
}

/* As many calls as would fit into what lies above `sp` count as used. */
static inline void swpy_assume_used(sw_record *record, uintptr_t sp)
{
    record->depth_used = swpy_levels(record->top - record->base) - swpy_levels(sp - record->base);
}

/* A thread state that belongs to one stack alone counts down by itself, from the budget that it gets when new. */
static inline void swpy_protect_own(PyThreadState *ts, sw_thread *thread, sw_record *to, int is_new)
{
    if (is_new && swpy_protection.mechanism != SWPY_NONE) {
        *swpy_remaining(ts) = swpy_levels_within(thread, to, swpy_limit(ts));
    }
}

/* Calls that a budget takes away count as used until it is left. */
static inline uint32_t swpy_budget_entered(PyThreadState *ts, sw_record *to, uintptr_t sp, uintptr_t lowest)
{
    int *remaining = swpy_remaining(ts);
    size_t levels = sp > lowest ? (sp - lowest) / SWPY_BYTES_PER_LEVEL : 0;
    uint32_t calls_withheld = *remaining > 0 && levels < (size_t)*remaining ? (uint32_t)*remaining - (uint32_t)levels : 0;
    sw_cold_of(to)->calls_withheld += (int)taken;
    *remaining -= (int)taken;
    return taken;
}

static inline void swpy_budget_left(PyThreadState *ts, sw_record *to, uint32_t calls_withheld)
{
    sw_cold_of(to)->calls_withheld -= (int)taken;
    *swpy_remaining(ts) += (int)taken;
}

#define SWPY_SPARE_LEVELS 60 /* under 0 CPython aborts where it handles an overflow already */

static inline int swpy_budget_set(PyThreadState *ts, sw_thread *thread, sw_record *to, uint32_t budget)
{
    sw_record_cold *cold = sw_cold_of(to);
    uint32_t former = cold->own_budget;
    sw_counter *counted = swpy_find_counter(ts, thread);
    if (counted == NULL && to == thread->native) {
        counted = swpy_new_counter(ts, thread);
    }
    int in_force = counted != NULL && counted->record == to;
    cold->own_budget = budget;
    int more = in_force ? swpy_levels_within(thread, to, counted->limit) - counted->levels : 0;
    if (more < 0 && *swpy_remaining(ts) + more < SWPY_SPARE_LEVELS) {
        cold->own_budget = former;
        return 0;
    }
    if (in_force) {
        *swpy_remaining(ts) += more;
        counted->levels += more;
    }
    return 1;
}

static inline void swpy_drop_passed_budget(sw_record *to, uintptr_t sp)
{
    (void)to;
    (void)sp;
}

static inline size_t swpy_room(PyThreadState *ts, const sw_record *record, uintptr_t sp)
{
    size_t room = sp > record->base ? sp - record->base : 0;
    int remaining = ts != NULL && swpy_protection.mechanism != SWPY_NONE ? *swpy_remaining(ts) : SWPY_MOST_LEVELS;
    size_t counted = remaining > 0 ? (size_t)remaining * SWPY_BYTES_PER_LEVEL : 0;
    return room < counted ? room : counted;
}

static inline void swpy_native_bounds(PyThreadState *ts, uintptr_t *base, uintptr_t top)
{
    (void)ts;
    (void)base;
    (void)top;
}

static inline int swpy_has_bounds_of(PyThreadState *ts, const sw_record *record)
{
    (void)ts;
    (void)record;
    return 0;
}

/* There is no fast path: budgets are kept in the records. sw_process.fast_path stays 0. */
static inline int swpy_covers_fast(PyThreadState *ts, uintptr_t sp)
{
    (void)ts;
    (void)sp;
    return 0;
}

static inline void swpy_protect_fast(PyThreadState *ts, const sw_record *to)
{
    (void)ts;
    (void)to;
}
