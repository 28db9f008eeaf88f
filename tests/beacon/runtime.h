/* runtime.h: what runtime.c offers. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stddef.h>

#define RUNTIME_STACK ((size_t)256 << 10) /* bytes */
#define RUNTIME_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

RUNTIME_API void *make_stack(size_t size);
RUNTIME_API void free_stack(void *base, size_t size);
RUNTIME_API void call_on(void *base, size_t size, void (*work)(void));
RUNTIME_API void call_on_new_stack(void (*work)(void));
RUNTIME_API void tell(void *base, size_t size); /* without going there */
RUNTIME_API void tell_native(void);
RUNTIME_API void add_stack(void *base, size_t size, const char *name);
RUNTIME_API void remove_stack(void *base);
RUNTIME_API int is_heard(void);
RUNTIME_API void start_threads(void);
RUNTIME_API void stop_threads(void);

#ifdef __cplusplus
}
#endif
#endif
