/* protection_counted.h: what the two counting mechanisms share (3.11 to 3.13).
 *
 * CPython counts calls down in the thread state, and raises at 0. A "level" is one call. A stack is allowed as many
 * levels as fit into its size. The calls in use on a stack that is not counted down now are noted: for the native stack
 * in the sw_counter of its thread state, else in the record's depth_used. Noted is what is used, not what remains: the
 * user's recursion limit may change meanwhile.
 *
 * Requires of its includer: SWPY_BYTES_PER_LEVEL, and the functions that are only declared here. */

#define SWPY_LEAST_LEVELS 120
#define SWPY_MOST_LEVELS 1000000
#define SWPY_UNCOUNTED_BYTES ((size_t)16 << 10) /* of each stack: no levels are given for them */

/* The most levels that a stack may have, however large, under a recursion limit of `limit`. The native stacks of
 * Python's own threads have so many. */
static inline int swpy_most_levels(const sw_record *record, int limit);
/* The user's recursion limit, where it counts C calls; else 0. */
static inline int swpy_limit(PyThreadState *ts);
/* The field that is counted down. */
static inline int *swpy_remaining(PyThreadState *ts);

static inline uintptr_t swpy_low_end(const sw_record *record)
{
    return record->base + swpy_withheld_by_budgets(record);
}

static inline int swpy_levels(size_t size)
{
    size_t levels = size > SWPY_UNCOUNTED_BYTES ? (size - SWPY_UNCOUNTED_BYTES) / SWPY_BYTES_PER_LEVEL : 0;
    return (int)(levels < SWPY_LEAST_LEVELS  ? SWPY_LEAST_LEVELS
                 : levels > SWPY_MOST_LEVELS ? SWPY_MOST_LEVELS
                                             : levels);
}

/* The levels that fit into a stack, or into its own budget. */
static inline int swpy_levels_of(const sw_record *record)
{
    uintptr_t budget = sw_cold_of(record)->own_budget;
    uintptr_t size = record->top - record->base;
    return swpy_levels(budget != 0 && budget < size ? budget : size);
}

/* Has a stack the most levels, whatever its size? So have the native stacks of Python's own threads, and stacks with
 * the policy `disabled`. */
static inline int swpy_has_most_levels(const sw_thread *thread, const sw_record *record)
{
    return record->policy == SW_DISABLED
        || (record == thread->native && !thread->is_foreign && sw_cold_of(record)->own_budget == 0);
}

/* The levels that a stack is allowed in all, under a recursion limit of `limit`. */
static inline int swpy_levels_within(const sw_thread *thread, const sw_record *record, int limit)
{
    int most = swpy_most_levels(record, limit);
    int levels = swpy_has_most_levels(thread, record) ? most : swpy_levels_of(record);
    int budget = sw_cold_of(record)->calls;
    levels = levels < most ? levels : most;
    return budget != 0 && budget < levels ? budget : levels;
}

static inline int swpy_is_counter_of(const sw_counter *counter, const PyThreadState *ts)
{
    return counter->ts_id == ts->id && counter->interpreter == ts->interp;
}

/* The counter of a thread state. NULL: it counts down for the native stack, as CPython has set it. That of a
 * coroutine's own thread state is kept with the coroutine: a thread has any number of these. */
static inline sw_counter *swpy_find_counter(PyThreadState *ts, sw_thread *thread)
{
    if (thread->own_counter != NULL && swpy_is_counter_of(thread->own_counter, ts)) {
        return thread->own_counter;
    }
    for (int i = 0; i < SW_COUNTERS; i++) {
        if (swpy_is_counter_of(&thread->counters[i], ts)) {
            return &thread->counters[i];
        }
    }
    return NULL;
}

static inline void swpy_begin_counter(PyThreadState *ts, sw_counter *counter)
{
    counter->interpreter = ts->interp;
    counter->ts_id = ts->id;
    counter->native_depth_used = 0;
}

static inline sw_counter *swpy_new_counter(PyThreadState *ts, sw_thread *thread)
{
    sw_counter *counter = &thread->counters[thread->next_counter++ % SW_COUNTERS];
    swpy_begin_counter(ts, counter);
    counter->record = thread->native;
    counter->limit = swpy_limit(ts);
    counter->levels = swpy_most_levels(thread->native, counter->limit);
    return counter;
}

/* Does a thread state count down for a record, with the levels that it is allowed now? */
static inline int swpy_is_effective(const sw_thread *thread, const sw_counter *counter, const sw_record *record)
{
    if (counter == NULL) {
        return record == thread->native && swpy_has_most_levels(thread, record) && sw_cold_of(record)->calls == 0;
    }
    return counter->record == record && counter->levels == swpy_levels_within(thread, record, counter->limit);
}

static inline void swpy_forget_counters(sw_thread *thread)
{
    thread->own_counter = NULL;
    memset(thread->counters, 0, sizeof thread->counters);
}

static inline int swpy_covers(PyThreadState *ts, sw_thread *thread, uintptr_t sp)
{
    const sw_record *current = thread->current;
    return sp - current->base < current->top - current->base && current->bounds_from < SW_FROM_MAP
        && swpy_is_effective(thread, swpy_find_counter(ts, thread), current);
}

/* Where the calls in use on a stack are noted while another one is counted down. */
static inline int *swpy_depth_place(const sw_thread *thread, sw_counter *counter, sw_record *record)
{
    return record == thread->native ? &counter->native_depth_used : &record->depth_used;
}

/* The calls in use on the stack that is counted down. C code may have called Py_SetRecursionLimit(), which adds the
 * difference to what remains. */
static inline int swpy_depth_used(PyThreadState *ts, const sw_counter *counter)
{
    int added = swpy_limit(ts) - counter->limit;
    return counter->levels - (*swpy_remaining(ts) - added);
}

/* Count down for `to` from now on, from where it was. */
static inline void swpy_count_down(PyThreadState *ts, const sw_thread *thread, sw_counter *counter, sw_record *to)
{
    counter->record = to;
    counter->limit = swpy_limit(ts);
    counter->levels = swpy_levels_within(thread, to, counter->limit);
    int *depth = swpy_depth_place(thread, counter, to);
    *swpy_remaining(ts) = counter->levels - *depth;
    *depth = 0; /* the thread state knows it now; a second one that is made on this stack starts at 0 */
}

/* `used` < 0: while the former stack was counted down more calls returned than were entered. Those were entered on
 * `to`, and returned before the switch back to it was told: they are in use there no more. */
static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_counter *counter = swpy_find_counter(ts, thread);
    sw_record *from = counter != NULL ? counter->record : thread->native;
    if (swpy_protection.mechanism == SWPY_NONE || swpy_is_effective(thread, counter, to)) {
        return;
    }
    if (counter == NULL) {
        counter = swpy_new_counter(ts, thread);
    }
    int used = swpy_depth_used(ts, counter);
    if (used < 0) {
        int *depth = swpy_depth_place(thread, counter, to);
        *depth = *depth + used > 0 ? *depth + used : 0;
        used = 0;
    }
    *swpy_depth_place(thread, counter, from) = used;
    swpy_count_down(ts, thread, counter, to);
}

static inline void swpy_adopt(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_counter *counter = swpy_find_counter(ts, thread);
    if (counter == NULL && !swpy_is_effective(thread, counter, to)) {
        counter = swpy_new_counter(ts, thread);
    }
    if (counter != NULL) {
        counter->record = to;
        counter->limit = swpy_limit(ts);
        counter->levels = swpy_levels_within(thread, to, counter->limit);
    }
}

/* The levels that fit into what lies above `sp` count as used. */
static inline void swpy_assume_used(sw_record *record, uintptr_t sp)
{
    record->depth_used = swpy_levels(record->top - record->base) - swpy_levels(sp - record->base);
}

/* A coroutine's own thread state counts down for its stack, and for those of calls that are nested there. */
static inline void swpy_protect_own(PyThreadState *ts, sw_thread *thread, sw_record *to, sw_counter *counter,
                                    int is_new)
{
    if (swpy_protection.mechanism == SWPY_NONE) {
        return;
    }
    if (is_new) {
        swpy_begin_counter(ts, counter);
        to->depth_used = 0;
        swpy_count_down(ts, thread, counter, to);
    }
    else {
        swpy_protect(ts, thread, to);
    }
}

static inline int swpy_is_applied(PyThreadState *ts, sw_thread *thread, const sw_record *record)
{
    const sw_counter *counter = swpy_find_counter(ts, thread);
    return counter != NULL ? counter->record == record : record == thread->native;
}

/* A budget allows as many calls in all as are in use now and fit between `sp` and `low_end`. Counted from the first
 * call, not from those that are left: how many the stack has changes with its policy and the user's recursion limit. */
static inline void swpy_fill_budget(PyThreadState *ts, sw_thread *thread, uintptr_t sp, uintptr_t low_end,
                                    sw_request *request)
{
    sw_counter *counter = swpy_find_counter(ts, thread);
    if (counter == NULL) {
        counter = swpy_new_counter(ts, thread);
    }
    int used = swpy_depth_used(ts, counter);
    size_t levels = sp > low_end ? (sp - low_end) / SWPY_BYTES_PER_LEVEL : 0;
    request->calls = (used > 0 ? used : 0) + (int)(levels < SWPY_MOST_LEVELS ? levels : SWPY_MOST_LEVELS);
    request->calls = request->calls > 0 ? request->calls : 1;
}

/* How many levels a stack is allowed has changed: whichever thread state counts down for it has so many from now on;
 * a coroutine's own one that is suspended has them when it is resumed (swpy_protect_own). */
static inline void swpy_allow_levels(const sw_record *record)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        for (sw_thread *thread = sw_process.threads; thread != NULL; thread = thread->next) {
            sw_counter *counter = thread->ident != 0 ? swpy_find_counter(ts, thread) : NULL;
            if (counter != NULL && counter->record == record) {
                int levels = swpy_levels_within(thread, record, counter->limit);
                *swpy_remaining(ts) += levels - counter->levels;
                counter->levels = levels;
            }
        }
    }
}

static inline void swpy_apply_budgets(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_record_cold *cold = sw_cold_of(to);
    (void)ts;
    (void)thread;
    swpy_sum_requests(cold);
    cold->calls = 0;
    for (const sw_request *request = cold->budgets; request != NULL; request = request->next) {
        cold->calls = cold->calls == 0 || request->calls < cold->calls ? request->calls : cold->calls;
    }
    if (swpy_protection.mechanism != SWPY_NONE) {
        swpy_allow_levels(to);
    }
}

static inline int swpy_can_withhold(uintptr_t bytes)
{
    (void)bytes;
    return 1;
}

#define SWPY_SPARE_LEVELS 60 /* must remain: below 0 CPython aborts the process in a handler of an overflow */

static inline int swpy_set_budget(PyThreadState *ts, sw_thread *thread, sw_record *to, uintptr_t budget)
{
    sw_record_cold *cold = sw_cold_of(to);
    uintptr_t before = cold->own_budget;
    sw_counter *counter = swpy_find_counter(ts, thread);
    if (counter == NULL && to == thread->native) {
        counter = swpy_new_counter(ts, thread);
    }
    int is_counted = counter != NULL && counter->record == to;
    cold->own_budget = budget;
    int more = is_counted ? swpy_levels_within(thread, to, counter->limit) - counter->levels : 0;
    if (more < 0 && *swpy_remaining(ts) + more < SWPY_SPARE_LEVELS) {
        cold->own_budget = before;
        return 0;
    }
    if (is_counted) {
        *swpy_remaining(ts) += more;
        counter->levels += more;
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

/* There is no fast path: a counter must be found first. sw_process.fast_path stays 0. */
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
