// hot_paths: what a call of the C table costs, beside CPython's own setter and a bare Boost.Context jump.
//
// Promises: knows stackwarden by its public header alone; every row is one loop around the named calls, loop
// included; all rows of one measure() take turns (Google Benchmark's random interleaving), so that what slows
// the machine for a while meets them all. Numbers are nanoseconds of processor time for one operation.

#include <stackwarden/beacon.h>
#include <stackwarden/stackwarden.h>

#include <boost/context/detail/fcontext.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>

STACKWARDEN_BEACON("hot_paths")

namespace {

namespace context = boost::context::detail;

constexpr std::size_t stack_size = 256 << 10;
constexpr std::size_t lookups = 1 << 20; // different addresses that the lookups go through

void check(stackwarden_status status)
{
    if (status < 0) {
        Py_FatalError(stackwarden_status_text(status));
    }
}

// ---- stacks ----

char *map_stacks(std::size_t count, int protection)
{
    void *memory = mmap(nullptr, count * stack_size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        Py_FatalError("no memory for the stacks");
    }
    return static_cast<char *>(memory);
}

// Two stacks to go to and fro between, registered; and one that is not.
struct pair_of_stacks {
    char *memory = map_stacks(3, PROT_READ | PROT_WRITE);
    void *first = memory;
    void *second = memory + stack_size;
    void *unregistered = memory + 2 * stack_size;
    stackwarden_stack first_stack, second_stack;

    pair_of_stacks()
    {
        check(stackwarden_register_stack(first, stack_size, nullptr, nullptr, 0, &first_stack));
        check(stackwarden_register_stack(second, stack_size, nullptr, nullptr, 0, &second_stack));
    }
    ~pair_of_stacks()
    {
        check(stackwarden_reset_stack());
        check(stackwarden_unregister_stack(first_stack.handle));
        check(stackwarden_unregister_stack(second_stack.handle));
        munmap(memory, 3 * stack_size);
    }
};

// ---- telling ----

#if PY_VERSION_HEX >= 0x030E0000
void setter(benchmark::State &state)
{
    pair_of_stacks stacks;
    while (state.KeepRunningBatch(2)) {
        PyUnstable_ThreadState_SetStackProtection(PyThreadState_GetUnchecked(), stacks.first, stack_size);
        PyUnstable_ThreadState_SetStackProtection(PyThreadState_GetUnchecked(), stacks.second, stack_size);
    }
    PyUnstable_ThreadState_ResetStackProtection(PyThreadState_Get());
}
#endif

void switch_to(benchmark::State &state)
{
    pair_of_stacks stacks;
    while (state.KeepRunningBatch(2)) {
        stackwarden_switch_to(stacks.first_stack.handle);
        stackwarden_switch_to(stacks.second_stack.handle);
    }
}

void switch_to_detached(benchmark::State &state)
{
    pair_of_stacks stacks;
    PyThreadState *thread = PyEval_SaveThread();
    while (state.KeepRunningBatch(2)) {
        stackwarden_switch_to(stacks.first_stack.handle);
        stackwarden_switch_to(stacks.second_stack.handle);
    }
    PyEval_RestoreThread(thread);
}

void notify(benchmark::State &state)
{
    pair_of_stacks stacks;
    while (state.KeepRunningBatch(2)) {
        stackwarden_notify_stack_switch(stacks.first, stack_size);
        stackwarden_notify_stack_switch(stacks.second, stack_size);
    }
}

void notify_unregistered(benchmark::State &state)
{
    pair_of_stacks stacks;
    while (state.KeepRunningBatch(2)) {
        stackwarden_notify_stack_switch(stacks.unregistered, stack_size);
        stackwarden_notify_stack_switch(stacks.second, stack_size);
    }
}

void sync(benchmark::State &state)
{
    stackwarden_reset_stack();
    for (auto _ : state) {
        stackwarden_sync_stack();
    }
}

// ---- going deeper ----

void cpython_check(benchmark::State &state)
{
    for (auto _ : state) {
        benchmark::DoNotOptimize(Py_EnterRecursiveCall(" in a benchmark"));
        Py_LeaveRecursiveCall();
    }
}

void check_depth(benchmark::State &state)
{
    stackwarden_reset_stack();
    for (auto _ : state) {
        benchmark::DoNotOptimize(stackwarden_check_stack_depth(" in a benchmark"));
    }
}

void enter_call(benchmark::State &state)
{
    stackwarden_reset_stack();
    for (auto _ : state) {
        benchmark::DoNotOptimize(stackwarden_enter_recursive_call(" in a benchmark"));
        stackwarden_leave_recursive_call();
    }
}

void remaining(benchmark::State &state)
{
    stackwarden_reset_stack();
    for (auto _ : state) {
        benchmark::DoNotOptimize(stackwarden_stack_remaining());
    }
}

// ---- Boost.Context beside them ----

void go_back(context::transfer_t from)
{
    for (;;) {
        from = context::jump_fcontext(from.fctx, nullptr);
    }
}

void jump(benchmark::State &state)
{
    pair_of_stacks stacks;
    context::transfer_t there{context::make_fcontext(stacks.second, stack_size, go_back), nullptr};
    while (state.KeepRunningBatch(2)) {
        there = context::jump_fcontext(there.fctx, nullptr);
    }
}

void jump_told(benchmark::State &state)
{
    pair_of_stacks stacks;
    context::transfer_t there{context::make_fcontext(stacks.second, stack_size, go_back), nullptr};
    while (state.KeepRunningBatch(2)) {
        stackwarden_switch_to(stacks.first_stack.handle);
        there = context::jump_fcontext(there.fctx, nullptr);
        stackwarden_reset_stack();
    }
}

// One call of the beacon for one jump, as a runtime would have it.
void go_back_with_beacon(context::transfer_t from)
{
    for (;;) {
        stackwarden_beacon_reset();
        from = context::jump_fcontext(from.fctx, nullptr);
    }
}

void jump_with_beacon(benchmark::State &state, bool heard)
{
    pair_of_stacks stacks;
    const stackwarden_beacon_listener *listener = stackwarden_beacon_slot.listener;
    stackwarden_beacon_slot.listener = heard ? listener : nullptr;
    context::transfer_t there{context::make_fcontext(stacks.second, stack_size, go_back_with_beacon), nullptr};
    while (state.KeepRunningBatch(2)) {
        stackwarden_beacon_switch(stacks.second, stack_size);
        there = context::jump_fcontext(there.fctx, nullptr);
    }
    stackwarden_beacon_slot.listener = listener;
}

// ---- the registry ----

void register_unregister(benchmark::State &state, const char *name)
{
    pair_of_stacks stacks;
    stackwarden_stack made;
    for (auto _ : state) {
        check(stackwarden_register_stack(stacks.unregistered, stack_size, name, name, 0, &made));
        check(stackwarden_unregister_stack(made.handle));
    }
}

class many_stacks {
public:
    explicit many_stacks(std::size_t count) : handles_(count), memory_(map_stacks(count, PROT_NONE)) {}
    ~many_stacks() { munmap(memory_, handles_.size() * stack_size); }
    many_stacks(const many_stacks &) = delete;
    many_stacks &operator=(const many_stacks &) = delete;

    void register_all()
    {
        for (std::size_t i = 0; i < handles_.size(); i++) {
            stackwarden_stack made;
            check(stackwarden_register_stack(memory_ + i * stack_size, stack_size, nullptr, nullptr, 0, &made));
            handles_[i] = made.handle;
        }
    }
    void unregister_all()
    {
        for (stackwarden_handle handle : handles_) {
            check(stackwarden_unregister_stack(handle));
        }
    }
    // Random addresses in so many of the stacks, themselves chosen at random.
    std::vector<std::size_t> random_offsets(std::size_t count) const
    {
        std::mt19937_64 random(1);
        std::vector<std::size_t> chosen(handles_.size());
        std::iota(chosen.begin(), chosen.end(), std::size_t(0));
        std::shuffle(chosen.begin(), chosen.end(), random);
        std::uniform_int_distribution<std::size_t> stack(0, count - 1), offset(0, stack_size - 1);
        std::vector<std::size_t> offsets(lookups);
        for (std::size_t &place : offsets) {
            place = chosen[stack(random)] * stack_size + offset(random);
        }
        return offsets;
    }
    std::size_t count() const { return handles_.size(); }
    const char *memory() const { return memory_; }

private:
    std::vector<stackwarden_handle> handles_;
    char *memory_;
};

many_stacks *stacks; // one set at a time, registered while it is looked up
std::vector<std::size_t> offsets; // what is looked up, in bytes from the lowest stack

void find_independent(benchmark::State &state)
{
    stackwarden_stack stack;
    std::size_t i = 0;
    const char *memory = stacks->memory();
    for (auto _ : state) {
        check(stackwarden_find_stack(memory + offsets[i++ % lookups], &stack));
        benchmark::DoNotOptimize(stack);
    }
}

// Each lookup needs the result of the one before.
void find_dependent(benchmark::State &state)
{
    stackwarden_stack stack{};
    std::size_t i = 0;
    const char *memory = stacks->memory();
    for (auto _ : state) {
        std::size_t zero = stack.base >> 63;
        check(stackwarden_find_stack(memory + offsets[i++ % lookups] + zero, &stack));
        benchmark::DoNotOptimize(stack);
    }
}

// The least that memory allows: one word for 64 KiB of address space, which leads to one cache line.
void find_bare(benchmark::State &state)
{
    struct alignas(64) line {
        std::size_t words[8];
    };
    constexpr int granule_bits = 16;
    std::size_t granules = stack_size >> granule_bits;
    std::vector<line> lines(stacks->count());
    std::vector<std::size_t> line_of(stacks->count() * granules);
    for (std::size_t granule = 0; granule < line_of.size(); granule++) {
        line_of[granule] = granule / granules;
    }
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(lines[line_of[offsets[i++ % lookups] >> granule_bits]].words[0]);
    }
}

// ---- running ----

// What Google Benchmark measured: row and nanoseconds for one operation, each repetition by itself.
class collector : public benchmark::BenchmarkReporter {
public:
    std::vector<std::pair<std::string, double>> samples;

    bool ReportContext(const Context &) override { return true; }
    void ReportRuns(const std::vector<Run> &runs) override
    {
        for (const Run &run : runs) {
            if (run.run_type == Run::RT_Iteration) {
                samples.emplace_back(run.run_name.function_name, run.GetAdjustedCPUTime());
            }
        }
    }
};

void add_rows()
{
#if PY_VERSION_HEX >= 0x030E0000
    benchmark::RegisterBenchmark("setter", setter);
#endif
    benchmark::RegisterBenchmark("switch_to", switch_to);
    benchmark::RegisterBenchmark("switch_to, detached", switch_to_detached);
    benchmark::RegisterBenchmark("notify", notify);
    benchmark::RegisterBenchmark("notify, unregistered", notify_unregistered);
    benchmark::RegisterBenchmark("sync", sync);
    benchmark::RegisterBenchmark("check, CPython", cpython_check);
    benchmark::RegisterBenchmark("check", check_depth);
    benchmark::RegisterBenchmark("enter", enter_call);
    benchmark::RegisterBenchmark("remaining", remaining);
    benchmark::RegisterBenchmark("jump", jump);
    benchmark::RegisterBenchmark("jump, told", jump_told);
    benchmark::RegisterBenchmark("jump, beacon", jump_with_beacon, false);
    benchmark::RegisterBenchmark("jump, beacon heard", jump_with_beacon, true);
    benchmark::RegisterBenchmark("register", register_unregister, nullptr);
    benchmark::RegisterBenchmark("register, named", register_unregister, "fiber");
    benchmark::RegisterBenchmark("find", find_independent);
    benchmark::RegisterBenchmark("find, dependent", find_dependent);
    benchmark::RegisterBenchmark("find, bare", find_bare);
}

// ---- Python ----

PyObject *measure(PyObject *, PyObject *arguments)
{
    const char *rows, *seconds, *repetitions;
    if (!PyArg_ParseTuple(arguments, "sss", &rows, &seconds, &repetitions)) {
        return nullptr;
    }
    std::string flags[] = {
        "hot_paths",
        "--benchmark_enable_random_interleaving=true",
        std::string("--benchmark_filter=") + rows,
        std::string("--benchmark_min_time=") + seconds,
        std::string("--benchmark_repetitions=") + repetitions,
    };
    char *pointers[std::size(flags)];
    int count = std::size(flags);
    for (int i = 0; i < count; i++) {
        pointers[i] = flags[i].data();
    }
    benchmark::Initialize(&count, pointers);
    collector collected;
    benchmark::RunSpecifiedBenchmarks(&collected);
    stackwarden_reset_stack();
    PyObject *samples = PyList_New(0);
    for (const auto &[row, nanoseconds] : collected.samples) {
        PyObject *sample = Py_BuildValue("sd", row.c_str(), nanoseconds);
        if (samples == nullptr || sample == nullptr || PyList_Append(samples, sample) != 0) {
            Py_CLEAR(samples);
        }
        Py_XDECREF(sample);
    }
    return samples;
}

PyObject *map_many(PyObject *, PyObject *count)
{
    delete stacks;
    stacks = new many_stacks(PyLong_AsSize_t(count));
    Py_RETURN_NONE;
}

PyObject *register_many(PyObject *, PyObject *)
{
    stacks->register_all();
    Py_RETURN_NONE;
}

PyObject *choose_addresses(PyObject *, PyObject *count)
{
    offsets = stacks->random_offsets(PyLong_AsSize_t(count));
    Py_RETURN_NONE;
}

PyObject *unregister_many(PyObject *, PyObject *)
{
    stacks->unregister_all();
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"measure", measure, METH_VARARGS,
     "measure(rows, seconds, repetitions), all str: a list of (row, nanoseconds); `rows` is a regular expression."},
    {"map_many", map_many, METH_O, "Map so many stacks of 256 KiB; those mapped before must be unregistered."},
    {"register_many", register_many, METH_NOARGS, "Register them."},
    {"choose_addresses", choose_addresses, METH_O, "Choose random addresses in so many of them, to be looked up."},
    {"unregister_many", unregister_many, METH_NOARGS, "Unregister them."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "hot_paths", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit_hot_paths()
{
    if (stackwarden_import() < 0) {
        return nullptr;
    }
    add_rows();
    return PyModule_Create(&definition);
}
