/* layout.c: pins the layout of what stackwarden.h shares between packages, on 64-bit systems.
 *
 * Compiling is the test, as C and as C++. A line here is never changed: slots and fields only come at the end,
 * in the place of reserved bytes, and get a line of their own. */
#include <stackwarden/stackwarden.h>

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#endif
#define AT(type, field, offset) CHECK(offsetof(type, field) == (offset))

CHECK(STACKWARDEN_API_MAJOR == 1);

CHECK(sizeof(stackwarden_status) == 4);
CHECK(STACKWARDEN_DONE == 0);
CHECK(STACKWARDEN_UNKNOWN_STACK == 1);
CHECK(STACKWARDEN_LOST == 2);
CHECK(STACKWARDEN_NOT_INSTALLED == -1);
CHECK(STACKWARDEN_NOT_RUNNING == -2);
CHECK(STACKWARDEN_NO_MEMORY == -3);
CHECK(STACKWARDEN_FULL == -4);
CHECK(STACKWARDEN_BAD_RANGE == -5);
CHECK(STACKWARDEN_UNALIGNED == -6);
CHECK(STACKWARDEN_UNMAPPED == -7);
CHECK(STACKWARDEN_TOO_SMALL == -8);
CHECK(STACKWARDEN_OVERLAP == -9);
CHECK(STACKWARDEN_IN_USE == -10);
CHECK(STACKWARDEN_STALE_HANDLE == -11);
CHECK(STACKWARDEN_NOT_REGISTERED == -12);
CHECK(STACKWARDEN_DETACHED == -13);
CHECK(STACKWARDEN_ISOLATION_REQUIRED == -14);
CHECK(STACKWARDEN_OTHER_THREAD == -15);
CHECK(STACKWARDEN_NO_ISOLATION == -16);
CHECK(STACKWARDEN_NOT_AVAILABLE == -17);
CHECK(STACKWARDEN_BAD_POLICY == -18);
CHECK(STACKWARDEN_INTERRUPTED == -19);

CHECK(STACKWARDEN_POLICY_INHERITED == 0);
CHECK(STACKWARDEN_POLICY_EXACT == 1);
CHECK(STACKWARDEN_POLICY_ESTIMATE == 2);
CHECK(STACKWARDEN_POLICY_COUNTED == 3);
CHECK(STACKWARDEN_POLICY_DISABLED == 4);
CHECK(STACKWARDEN_KNOWN_STACKS == 0);
CHECK(STACKWARDEN_UNKNOWN_STACKS == 1);
CHECK(STACKWARDEN_FOREIGN_THREADS == 2);
CHECK(STACKWARDEN_WITH_POLICY(STACKWARDEN_POLICY_DISABLED) == 0x400u);

CHECK(sizeof(stackwarden_handle) == 8);
CHECK(STACKWARDEN_TRIM_GUARD == 1u);
CHECK(STACKWARDEN_ISOLATION_FRAMES == 2u);
CHECK(STACKWARDEN_ISOLATION_THREAD_STATE == 4u);
CHECK(STACKWARDEN_EMPTY_CONTEXT == 8u);

CHECK(sizeof(stackwarden_stack) == 64);
AT(stackwarden_stack, handle, 0);
AT(stackwarden_stack, base, 8);
AT(stackwarden_stack, size, 16);
AT(stackwarden_stack, chain, 24);
AT(stackwarden_stack, pooled, 32);
AT(stackwarden_stack, bounds_from, 40);
AT(stackwarden_stack, reserved, 48);

CHECK(STACKWARDEN_SWITCH_ENDS == 1u);

CHECK(sizeof(stackwarden_request) == 32);
AT(stackwarden_request, id, 0);
AT(stackwarden_request, place, 8);
AT(stackwarden_request, reserved, 16);

AT(stackwarden_table, major, 0);
AT(stackwarden_table, minor, 4);
AT(stackwarden_table, notify_stack_switch, 8);
AT(stackwarden_table, switch_to, 16);
AT(stackwarden_table, reset_stack, 24);
AT(stackwarden_table, sync_stack, 32);
AT(stackwarden_table, register_stack, 40);
AT(stackwarden_table, unregister_stack, 48);
AT(stackwarden_table, current_stack, 56);
AT(stackwarden_table, find_stack, 64);
AT(stackwarden_table, register_switch_callback, 72);
AT(stackwarden_table, unregister_switch_callback, 80);
AT(stackwarden_table, start_switch, 88);
AT(stackwarden_table, start_switch_blocking, 96);
AT(stackwarden_table, finish_switch, 104);
AT(stackwarden_table, renew_stack, 112);
AT(stackwarden_table, drain, 120);
AT(stackwarden_table, enter_budget, 128);
AT(stackwarden_table, leave_budget, 136);
AT(stackwarden_table, adopt_stack, 144);
AT(stackwarden_table, call_on_stack, 152);
AT(stackwarden_table, maybe_grow, 160);
AT(stackwarden_table, stack_remaining, 168);
AT(stackwarden_table, stack_used, 176);
AT(stackwarden_table, check_stack_depth, 184);
AT(stackwarden_table, enter_recursive_call, 192);
AT(stackwarden_table, leave_recursive_call, 200);
AT(stackwarden_table, set_policy, 208);
AT(stackwarden_table, enter_policy, 216);
AT(stackwarden_table, leave_policy, 224);
AT(stackwarden_table, enter_sync, 232);
AT(stackwarden_table, leave_sync, 240);
AT(stackwarden_table, enter_stack, 248);
AT(stackwarden_table, leave_stack, 256);
AT(stackwarden_table, retain_stack, 264);
AT(stackwarden_table, current_handle, 272);
