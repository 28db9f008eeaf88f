/* protection_counted.h: what the two counting mechanisms share.
 *
 * Wants of its includer: SWPY_BYTES_PER_LEVEL, and the three functions that are only declared here. */

#define SWPY_LEAST_LEVELS 120
#define SWPY_RESERVE ((size_t)16 << 10)

static inline int swpy_budget(const sw_thread *thread, const sw_record *record);
static inline int swpy_depth_used(PyThreadState *ts, const sw_thread *thread, const sw_record *from);
static inline void swpy_count_down(PyThreadState *ts, const sw_thread *thread, const sw_record *to);

static inline int swpy_levels(size_t size)
{
    size_t levels = size > SWPY_RESERVE ? (size - SWPY_RESERVE) / SWPY_BYTES_PER_LEVEL : 0;
    return (int)(levels < SWPY_LEAST_LEVELS ? SWPY_LEAST_LEVELS : levels > 1000000 ? 1000000 : levels);
}

/* The record whose budget is counted down in `ts`. */
static inline sw_record *swpy_counted(PyThreadState *ts, const sw_thread *thread)
{
    return thread->counted_in == ts->id ? thread->counted : thread->native;
}

static inline int swpy_covers(PyThreadState *ts, const sw_thread *thread, uintptr_t sp)
{
    const sw_record *current = thread->current;
    return sp - current->base < current->top - current->base && swpy_counted(ts, thread) == current
        && current->bounds_from != SW_FROM_ESTIMATE;
}

static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    sw_record *from = swpy_counted(ts, thread);
    if (swpy_protection.mechanism == SWPY_NONE || from == to) {
        return;
    }
    int used = swpy_depth_used(ts, thread, from);
    if (used < 0) {
        to->depth_used = to->depth_used + used > 0 ? to->depth_used + used : 0;
        used = 0;
    }
    from->depth_used = used;
    swpy_count_down(ts, thread, to);
    thread->counted = to;
    thread->counted_in = ts->id;
}

/* A thread state that belongs to one stack alone counts down by itself, from the budget that it gets when new. */
static inline void swpy_protect_own(PyThreadState *ts, sw_thread *thread, sw_record *to, int is_new)
{
    if (is_new && swpy_protection.mechanism != SWPY_NONE) {
        to->depth_used = 0;
        swpy_count_down(ts, thread, to);
    }
}

static inline void swpy_native_bounds(PyThreadState *ts, uintptr_t *base, uintptr_t top)
{
    (void)ts;
    (void)base;
    (void)top;
}

/* There is no straight way: budgets are kept in the records. sw_process.straight stays 0. */
static inline int swpy_covers_straight(PyThreadState *ts, uintptr_t sp)
{
    (void)ts;
    (void)sp;
    return 0;
}

static inline void swpy_protect_straight(PyThreadState *ts, const sw_record *to)
{
    (void)ts;
    (void)to;
}
